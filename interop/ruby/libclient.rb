# libclient.rb - what every Bunny program of this folder needs
#
# Bunny runs consumers in threads of its own, so deliveries are collected in thread-safe queues and
# waited for with a bound. say() prints one line of the transcript, without the random part of
# generated names. Whatever goes wrong ends the process with status 1.

require 'bunny'
require 'logger'
require 'timeout'

WAIT_S = 15

Thread.abort_on_exception = true
$stdout.sync = true

def connect(options = {})
  Bunny.new({ host: '127.0.0.1', port: Integer(ENV.fetch('AMQP_PORT')), heartbeat: 0,
              automatically_recover: false, continuation_timeout: WAIT_S * 1000,
              logger: Logger.new(IO::NULL) }.merge(options)).tap(&:start)
end

def stable(text)
  text.gsub(/amq\.gen-[A-Za-z0-9_-]{22}/, 'amq.gen-GENERATED')
      .gsub(/bunny-[0-9]+-[0-9]+/, 'bunny-GENERATED')
end

def say(*words)
  puts(stable(words.map { |word| word.is_a?(String) ? word : word.inspect }.join(' ')))
end

def wait_until(what)
  Timeout.timeout(WAIT_S, Timeout::Error, "waited too long for #{what}") do
    sleep 0.01 until yield
  end
end

# Takes one item from a thread-safe queue, within bounds.
def take(items)
  Timeout.timeout(WAIT_S) { items.pop }
end

def fresh_queue(channel, name, options = {})
  channel.queue_delete(name)
  channel.queue(name, options)
end

def fresh_exchange(channel, type, name, options = {})
  channel.exchange_delete(name)
  channel.exchange_declare(name, type, options)
  Bunny::Exchange.new(channel, type, name, options.merge(no_declare: true))
end

# Takes all ready messages; the bodies in order.
def drain(queue)
  bodies = []
  loop do
    info, _, body = queue.pop
    return bodies unless info

    bodies << body
  end
end
