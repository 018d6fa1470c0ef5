# queues.rb - work queue with Bunny: prefetch, acknowledgements, requeueing, properties, purge
#
# Bunny writes every integer in headers and arguments as a signed 64-bit field.

require_relative 'libclient'

NAME = 'interop.ruby.queues'

def properties(channel, queue)
  channel.default_exchange.publish(
    'everything', routing_key: NAME, persistent: true, content_type: 'text/plain',
                  content_encoding: 'utf-8', priority: 4, correlation_id: 'c', reply_to: 'r',
                  expiration: '100000', message_id: 'm', timestamp: 1_700_000_000,
                  type: 't', user_id: 'guest', app_id: 'a',
                  headers: { 'int' => 7, 'large' => 2**40, 'negative' => -1, 'float' => 1.5,
                             'text' => 'zając', 'yes' => true, 'nothing' => nil,
                             'list' => [1, 'two', { 'three' => 3 }],
                             'time' => Time.at(1_700_000_000),
                             'table' => { 'nested' => { 'deep' => 'down' } } }
  )
  info, got, body = queue.pop
  say(info.delivery_tag.to_i, info.redelivered?, info.exchange, info.routing_key, body)
  got.to_hash.each do |key, value|
    value = value.to_i if value.is_a?(Time)
    next say(key.to_s, value) unless key == :headers

    value.each { |name, field| say('header', name, field.is_a?(Time) ? field.to_i : field) }
  end
end

def prefetch(channel, queue)
  channel.prefetch(2)
  5.times { |number| queue.publish(number.to_s) }
  got = Queue.new
  consumer = queue.subscribe(manual_ack: true, consumer_tag: 'ruby') do |info, _, body|
    got << [info, body]
  end
  first = take(got)
  second = take(got)
  channel.basic_qos(2)
  say('prefetch 2:', first[1], second[1], 'and', got.size, 'more')
  channel.ack(first[0].delivery_tag)
  third = take(got)
  channel.nack(second[0].delivery_tag, false, true)
  again = take(got)
  say('then:', third[1], again[1], again[0].redelivered?)
  channel.reject(third[0].delivery_tag, false)
  fourth = take(got)
  channel.ack(fourth[0].delivery_tag, true)
  fifth = take(got)
  say('last:', fourth[1], fifth[1])
  say('cancelled:', consumer.cancel.consumer_tag)
  channel.nack(0, true, true)
  say('left:', drain(queue))
end

def arguments(channel)
  queue = channel.queue("#{NAME}.args", exclusive: true, arguments: { 'x-interop-number' => 5 })
  low = Queue.new
  high = Queue.new
  channel.prefetch(1)
  queue.subscribe(manual_ack: true, arguments: { 'x-priority' => -5 }) { |_, _, body| low << body }
  queue.subscribe(manual_ack: true, arguments: { 'x-priority' => 5 }) { |_, _, body| high << body }
  2.times { |number| queue.publish(number.to_s) }
  say('priorities as 64-bit integers: high', take(high), 'low', take(low))
end

connection = connect
channel = connection.create_channel
queue = fresh_queue(channel, NAME, durable: true)
properties(channel, queue)
prefetch(channel, queue)
queue.publish('purged')
say('purge:', channel.queue_purge(NAME).message_count, 'status', queue.status)
say('empty:', queue.pop)
named = channel.queue('', exclusive: true)
say('server-named:', named.name)
say('exists:', connection.queue_exists?(NAME), connection.queue_exists?("#{NAME}.none"))
say('deleted:', queue.delete.message_count)
channel.close
arguments(connection.create_channel)
connection.close
