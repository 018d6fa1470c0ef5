/*
 * heartbeat.c - a heartbeat of one second, kept for three, then neglected
 *
 * While the program calls into the library, rabbitmq-c sends heartbeats and expects the broker's:
 * a broker that stays silent for two seconds is reported as AMQP_STATUS_HEARTBEAT_TIMEOUT. Then
 * the program stops sending and reads the bare socket: heartbeats must still come, and the broker
 * must hang up between two and three intervals later, without a connection.close. The bounds here
 * are wider than the rule's because a loaded machine wakes late.
 */
#include "libclient.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#define INTERVAL_S 1
#define KEEP_S 3.5
#define DROP_MIN_S 1.5
#define DROP_MAX_S 8.0
#define HEARTBEAT_BYTES 8
#define QUEUE "interop.c.heartbeat"

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void keep_alive(amqp_connection_state_t conn)
{
    double end = now_s() + KEEP_S;

    while (now_s() < end) {
        struct timeval slice = { .tv_usec = 200000 };
        amqp_frame_t frame;
        int status = amqp_simple_wait_frame_noblock(conn, &frame, &slice);

        if (status != AMQP_STATUS_TIMEOUT) {
            printf("while kept alive: %s\n", amqp_error_string2(status));
            exit(1);
        }
    }
    printf("kept alive\n");
}

static void neglect(amqp_connection_state_t conn)
{
    struct pollfd socket = { .fd = amqp_get_sockfd(conn), .events = POLLIN };
    double start = now_s(), elapsed = 0;
    size_t received = 0;
    char bytes[256];
    ssize_t n = 1;

    while (n > 0 && elapsed < DROP_MAX_S) {
        if (poll(&socket, 1, 500) == 1) {
            n = recv(socket.fd, bytes, sizeof(bytes), 0);
            if (n > 0)
                received += (size_t)n;
        }
        elapsed = now_s() - start;
    }
    printf("neglected: %s, %s\n", n > 0 ? "still connected" : "hung up",
           elapsed < DROP_MIN_S ? "too early" : elapsed < DROP_MAX_S ? "in time" : "too late");
    printf("received meanwhile: %s\n",
           received % HEARTBEAT_BYTES ? "not only heartbeats"
           : received / HEARTBEAT_BYTES < 2 ? "too few heartbeats" : "heartbeats");
}

int main(void)
{
    struct client_login login = { "/", "guest", "guest", INTERVAL_S };
    amqp_connection_state_t conn = client_socket();

    client_print_reply(conn, 0, "login", client_login(conn, &login));
    printf("negotiated: heartbeat %d, frame-max %d, channel-max %d\n", amqp_get_heartbeat(conn),
           amqp_get_frame_max(conn), amqp_get_channel_max(conn));
    client_open_channel(conn, 1);
    keep_alive(conn);
    client_queue(conn, QUEUE, 0);
    client_delete_queue(conn, QUEUE);
    neglect(conn);
    amqp_destroy_connection(conn);
    return 0;
}
