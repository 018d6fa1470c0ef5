/*
 * rocksdb_files.cc - files for RocksDB whose writes do not fail
 *
 * RocksDB 7.8 takes a failed write for a reason to stop, and, where it is built with assertions as
 * in Debian, the next call on the same file ends the process; so do closing and opening a database
 * on a full disk. But no call of RocksDB is urgent here: what it writes is in our log already, and
 * stays there until RocksDB's files are complete. So it need not be told. Each operation that can
 * be done again, at a place that is known (create, write, truncate, rename), is done again until
 * it works, and the thread waits meanwhile; mostly that is one of RocksDB's own.
 *
 * A sync that has failed cannot be done again: the kernel may have dropped the data and say yes the
 * next time. Its thread then never returns and the state is LOST: the process has to end without
 * closing the database. The next one has what the log has.
 *
 * Opening for reading is tried a few times and may then fail: RocksDB passes that on, and a reader
 * must not wait for ever. RocksDB's own diary (LOG) is written as far as it goes.
 */
#include "store/rocksdb_files.h"

#include <fcntl.h>
#include <pthread.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/io_status.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

extern "C" {
#include "store/reserve.h"
}

using rocksdb::FileOptions;
using rocksdb::FileSystem;
using rocksdb::FSDirectory;
using rocksdb::FSRandomAccessFile;
using rocksdb::FSSequentialFile;
using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

/* As in RocksDB's db/c.cc, which does not show them; rocks_files_are_used() proves the guess. */
struct rocksdb_env_t {
    rocksdb::Env *rep;
    bool is_default;
};
struct rocksdb_t {
    rocksdb::DB *rep;
};
struct rocksdb_column_family_handle_t {
    rocksdb::ColumnFamilyHandle *rep;
};

struct rocks_files {
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_t tell_lock = PTHREAD_MUTEX_INITIALIZER; /* of changed and context */
    struct store_reserve *reserve = nullptr;
    unsigned n_waiting = 0;                 /* operations that failed and are to be done again */
    int error = 0;                          /* -errno of the one that failed last */
    struct store_fault fault = {};
    bool lost = false;
    void (*changed)(void *) = nullptr;
    void *context = nullptr;
    std::atomic<bool> used{ false };
    std::unique_ptr<rocksdb::Env> env;
    rocksdb_env_t handle = {};
};

namespace {

constexpr long RETRY_MS = 100;
constexpr int READ_TRIES = 10;

void pause_ms(long ms)
{
    const struct timespec pause = { ms / 1000, ms % 1000 * 1000000 };

    (void)nanosleep(&pause, nullptr); /* a signal makes it shorter: fine */
}

/* Called without the lock. */
void tell(struct rocks_files *files)
{
    (void)pthread_mutex_lock(&files->tell_lock);
    if (files->changed)
        files->changed(files->context);
    (void)pthread_mutex_unlock(&files->tell_lock);
}

/* Called with the lock held. */
void note(struct rocks_files *files, const char *what, const std::string &path, int error)
{
    files->error = -error;
    (void)snprintf(files->fault.text, sizeof files->fault.text, "cannot %s %.160s: %s", what,
                   path.c_str(), strerror(error));
}

/* One operation and its attempts: `while (doing_it_fails) attempt.failed(errno);` */
class Attempt {
public:
    Attempt(struct rocks_files *files, const char *what, const std::string &path)
        : files_(files), what_(what), path_(path)
    {
    }
    Attempt(const Attempt &) = delete;
    void operator=(const Attempt &) = delete;
    ~Attempt()
    {
        if (!waiting_)
            return;
        (void)pthread_mutex_lock(&files_->lock);
        files_->n_waiting--;
        (void)pthread_mutex_unlock(&files_->lock);
        tell(files_);
    }
    /* Returns when it may be tried again. */
    void failed(int error)
    {
        bool first = !waiting_;

        if (error == EINTR)
            return;
        if ((error == ENOSPC || error == EDQUOT) && store_reserve_give_up(files_->reserve)) {
            tell(files_);
            return;
        }
        (void)pthread_mutex_lock(&files_->lock);
        if (!files_->lost)
            note(files_, what_, path_, error);
        files_->n_waiting += first;
        (void)pthread_mutex_unlock(&files_->lock);
        waiting_ = true;
        if (first)
            tell(files_);
        pause_ms(RETRY_MS);
    }

private:
    struct rocks_files *files_;
    const char *what_;
    const std::string &path_;
    bool waiting_ = false;
};

/* Does not return: whoever called must not learn that it failed, nor that it worked. */
[[noreturn]] void lose(struct rocks_files *files, const char *what, const std::string &path,
                       int error)
{
    (void)pthread_mutex_lock(&files->lock);
    if (!files->lost)
        note(files, what, path, error);
    files->lost = true;
    (void)pthread_mutex_unlock(&files->lock);
    tell(files);
    for (;;)
        (void)pause();
}

int open_until_it_works(struct rocks_files *files, const std::string &path, int flags)
{
    Attempt attempt(files, flags & O_CREAT ? "create" : "open", path);
    int fd;

    files->used.store(true);
    while ((fd = open(path.c_str(), flags | O_CLOEXEC, 0644)) < 0)
        attempt.failed(errno);
    return fd;
}

class File : public FSWritableFile {
public:
    File(struct rocks_files *files, const std::string &path, int fd, uint64_t size,
         const FileOptions &options)
        : FSWritableFile(options), files_(files), path_(path), fd_(fd), size_(size)
    {
    }
    ~File() override
    {
        if (fd_ >= 0)
            (void)close(fd_); /* RocksDB has given it up */
    }
    using FSWritableFile::Append;
    using FSWritableFile::PositionedAppend;
    IOStatus Append(const Slice &data, const IOOptions &, IODebugContext *) override
    {
        write_at(data, size_);
        size_ += data.size();
        return IOStatus::OK();
    }
    IOStatus PositionedAppend(const Slice &data, uint64_t at, const IOOptions &,
                              IODebugContext *) override
    {
        write_at(data, at);
        size_ = at + data.size();
        return IOStatus::OK();
    }
    IOStatus Truncate(uint64_t size, const IOOptions &, IODebugContext *) override
    {
        Attempt attempt(files_, "cut", path_);

        while (ftruncate(fd_, static_cast<off_t>(size)))
            attempt.failed(errno);
        size_ = size;
        return IOStatus::OK();
    }
    IOStatus Flush(const IOOptions &, IODebugContext *) override { return IOStatus::OK(); }
    IOStatus Sync(const IOOptions &, IODebugContext *) override
    {
        if (fdatasync(fd_))
            lose(files_, "sync", path_, errno);
        return IOStatus::OK();
    }
    IOStatus Fsync(const IOOptions &, IODebugContext *) override
    {
        if (fsync(fd_))
            lose(files_, "sync", path_, errno);
        return IOStatus::OK();
    }
    bool IsSyncThreadSafe() const override { return true; }
    /* Only begins what the sync ends, which says how it went. */
    IOStatus RangeSync(uint64_t at, uint64_t size, const IOOptions &, IODebugContext *) override
    {
        (void)sync_file_range(fd_, static_cast<off64_t>(at), static_cast<off64_t>(size),
                              SYNC_FILE_RANGE_WRITE);
        return IOStatus::OK();
    }
    /* Nothing is preallocated: that would take room that others need. */
    IOStatus Allocate(uint64_t, uint64_t, const IOOptions &, IODebugContext *) override
    {
        return IOStatus::OK();
    }
    /* What matters has been synced before. */
    IOStatus Close(const IOOptions &, IODebugContext *) override
    {
        (void)close(fd_);
        fd_ = -1;
        return IOStatus::OK();
    }
    uint64_t GetFileSize(const IOOptions &, IODebugContext *) override { return size_; }

private:
    void write_at(const Slice &data, uint64_t at)
    {
        Attempt attempt(files_, "write", path_);
        size_t done = 0;

        while (done < data.size()) {
            ssize_t n = pwrite(fd_, data.data() + done, data.size() - done,
                               static_cast<off_t>(at + done));

            if (n < 0)
                attempt.failed(errno);
            else
                done += static_cast<size_t>(n);
        }
    }

    struct rocks_files *files_;
    const std::string path_;
    int fd_;
    uint64_t size_;
};

class Directory : public FSDirectory {
public:
    Directory(struct rocks_files *files, const std::string &path, int fd)
        : files_(files), path_(path), fd_(fd)
    {
    }
    ~Directory() override
    {
        if (fd_ >= 0)
            (void)close(fd_);
    }
    IOStatus Fsync(const IOOptions &, IODebugContext *) override
    {
        if (fsync(fd_) && errno != EINVAL) /* which says that this file system has no such thing */
            lose(files_, "sync", path_, errno);
        return IOStatus::OK();
    }
    IOStatus Close(const IOOptions &, IODebugContext *) override
    {
        (void)close(fd_);
        fd_ = -1;
        return IOStatus::OK();
    }

private:
    struct rocks_files *files_;
    const std::string path_;
    int fd_;
};

class Diary : public rocksdb::Logger {
public:
    explicit Diary(int fd) : fd_(fd) {}
    ~Diary() override { (void)close(fd_); }
    using rocksdb::Logger::Logv;
    void Logv(const char *format, va_list arguments) override
    {
        struct timeval now;
        struct tm date;
        char line[1024];
        size_t size;
        int n;

        (void)gettimeofday(&now, nullptr);
        (void)localtime_r(&now.tv_sec, &date);
        size = strftime(line, sizeof line, "%Y/%m/%d-%H:%M:%S ", &date);
        n = vsnprintf(line + size, sizeof line - size - 1, format, arguments);
        if (n > 0)
            size = std::min(size + static_cast<size_t>(n), sizeof line - 2);
        if (size == 0 || line[size - 1] != '\n')
            line[size++] = '\n';
        if (write(fd_, line, size) < 0)
            return; /* nobody needs it */
    }

private:
    int fd_;
};

class Files : public rocksdb::FileSystemWrapper {
public:
    explicit Files(struct rocks_files *files)
        : FileSystemWrapper(FileSystem::Default()), files_(files)
    {
    }
    const char *Name() const override { return "LeveretFiles"; }

    IOStatus NewWritableFile(const std::string &path, const FileOptions &options,
                             std::unique_ptr<FSWritableFile> *ret_file, IODebugContext *) override
    {
        int fd = open_until_it_works(files_, path, O_WRONLY | O_CREAT | O_TRUNC);

        ret_file->reset(new File(files_, path, fd, 0, options));
        return IOStatus::OK();
    }
    IOStatus ReopenWritableFile(const std::string &path, const FileOptions &options,
                                std::unique_ptr<FSWritableFile> *ret_file,
                                IODebugContext *) override
    {
        int fd = open_until_it_works(files_, path, O_WRONLY | O_CREAT);
        off_t size = lseek(fd, 0, SEEK_END);

        ret_file->reset(new File(files_, path, fd, static_cast<uint64_t>(size), options));
        return IOStatus::OK();
    }
    IOStatus ReuseWritableFile(const std::string &path, const std::string &old_path,
                               const FileOptions &options,
                               std::unique_ptr<FSWritableFile> *ret_file,
                               IODebugContext *debug) override
    {
        IOStatus status = RenameFile(old_path, path, IOOptions(), debug);

        return status.ok() ? NewWritableFile(path, options, ret_file, debug) : status;
    }
    IOStatus NewDirectory(const std::string &path, const IOOptions &,
                          std::unique_ptr<FSDirectory> *ret_directory, IODebugContext *) override
    {
        int fd = open_until_it_works(files_, path, O_RDONLY | O_DIRECTORY);

        ret_directory->reset(new Directory(files_, path, fd));
        return IOStatus::OK();
    }
    IOStatus CreateDir(const std::string &path, const IOOptions &options,
                       IODebugContext *debug) override
    {
        return CreateDirIfMissing(path, options, debug);
    }
    IOStatus CreateDirIfMissing(const std::string &path, const IOOptions &,
                                IODebugContext *) override
    {
        Attempt attempt(files_, "create", path);

        while (mkdir(path.c_str(), 0755) && errno != EEXIST)
            attempt.failed(errno);
        return IOStatus::OK();
    }
    IOStatus RenameFile(const std::string &from, const std::string &to, const IOOptions &,
                        IODebugContext *) override
    {
        Attempt attempt(files_, "rename", from);

        while (rename(from.c_str(), to.c_str())) {
            if (errno == ENOENT)
                return IOStatus::PathNotFound("rename", from);
            attempt.failed(errno);
        }
        return IOStatus::OK();
    }
    IOStatus NewLogger(const std::string &path, const IOOptions &,
                       std::shared_ptr<rocksdb::Logger> *ret_logger, IODebugContext *) override
    {
        int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);

        if (fd < 0)
            fd = open("/dev/null", O_WRONLY | O_CLOEXEC); /* a write to -1 does no harm either */
        ret_logger->reset(new Diary(fd));
        return IOStatus::OK();
    }
    IOStatus NewSequentialFile(const std::string &path, const FileOptions &options,
                               std::unique_ptr<FSSequentialFile> *ret_file,
                               IODebugContext *debug) override
    {
        return few_times([&] { return target()->NewSequentialFile(path, options, ret_file, debug); });
    }
    IOStatus NewRandomAccessFile(const std::string &path, const FileOptions &options,
                                 std::unique_ptr<FSRandomAccessFile> *ret_file,
                                 IODebugContext *debug) override
    {
        return few_times(
            [&] { return target()->NewRandomAccessFile(path, options, ret_file, debug); });
    }

private:
    template <typename Open> static IOStatus few_times(Open opening)
    {
        IOStatus status = opening();

        for (int i = 1; i < READ_TRIES && !status.ok() && !status.IsPathNotFound(); i++) {
            pause_ms(RETRY_MS);
            status = opening();
        }
        return status;
    }

    struct rocks_files *files_;
};

} // namespace

int rocks_files_new(struct store_reserve *reserve, struct rocks_files **ret_files)
{
    struct rocks_files *files = new (std::nothrow) rocks_files;

    if (!files)
        return -ENOMEM;
    files->reserve = reserve;
    files->env = rocksdb::NewCompositeEnv(std::make_shared<Files>(files));
    files->handle.rep = files->env.get();
    *ret_files = files;
    return 0;
}

void rocks_files_use(struct rocks_files *files, rocksdb_options_t *options)
{
    rocksdb_options_set_env(options, &files->handle);
}

bool rocks_files_are_used(struct rocks_files *files)
{
    return files->used.load();
}

enum store_backend_state rocks_files_look(struct rocks_files *files, int *ret_error,
                                          struct store_fault *fault)
{
    enum store_backend_state state = STORE_BACKEND_WELL;

    (void)pthread_mutex_lock(&files->lock);
    if (files->lost)
        state = STORE_BACKEND_LOST;
    else if (files->n_waiting > 0)
        state = STORE_BACKEND_STUCK;
    if (state != STORE_BACKEND_WELL) {
        *ret_error = files->error;
        *fault = files->fault;
    }
    (void)pthread_mutex_unlock(&files->lock);
    return state;
}

void rocks_files_lose(struct rocks_files *files, int error, const char *text)
{
    (void)pthread_mutex_lock(&files->lock);
    if (!files->lost) {
        files->lost = true;
        files->error = error;
        (void)snprintf(files->fault.text, sizeof files->fault.text, "%s", text);
    }
    (void)pthread_mutex_unlock(&files->lock);
    tell(files);
}

void rocks_files_watch(struct rocks_files *files, void (*changed)(void *context), void *context)
{
    (void)pthread_mutex_lock(&files->tell_lock);
    files->changed = changed;
    files->context = context;
    (void)pthread_mutex_unlock(&files->tell_lock);
}

int rocks_files_flush(rocksdb_t *db, rocksdb_column_family_handle_t *const *handles,
                      size_t n_handles, struct store_fault *fault)
{
    std::vector<rocksdb::ColumnFamilyHandle *> families;
    rocksdb::Status status;

    for (size_t i = 0; i < n_handles; i++)
        families.push_back(handles[i]->rep);
    status = db->rep->Flush(rocksdb::FlushOptions(), families);
    if (status.ok())
        return 0;
    (void)snprintf(fault->text, sizeof fault->text, "cannot flush the database: %s",
                   status.ToString().c_str());
    return -EIO;
}

void rocks_files_free(struct rocks_files *files)
{
    delete files;
}
