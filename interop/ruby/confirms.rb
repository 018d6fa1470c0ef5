# confirms.rb - publisher confirms, returns and transactions with Bunny

require_relative 'libclient'

NAME = 'interop.ruby.confirms'
COUNT = 300

connection = connect
say('product', connection.server_properties['product'])
connection.server_capabilities.sort.each { |name, on| say('capability', name, on) }

channel = connection.create_channel
queue = fresh_queue(channel, NAME, durable: true)
exchange = fresh_exchange(channel, :direct, "#{NAME}.x", durable: true)
returned = Queue.new
exchange.on_return do |info, properties, body|
  returned << [info.reply_code, info.reply_text, info.exchange, info.routing_key,
               properties.message_id, body]
end

channel.confirm_select
COUNT.times { |number| queue.publish(number.to_s, persistent: number.even?) }
say('all confirmed:', channel.wait_for_confirms, channel.unconfirmed_set.size, 'open',
    channel.nacked_set.size, 'refused')
exchange.publish('nobody', routing_key: "#{NAME}.nobody", mandatory: true, message_id: 'm')
say('confirmed:', channel.wait_for_confirms)
say('returned:', *take(returned))
exchange.publish('nobody', routing_key: "#{NAME}.nobody")
say('confirmed:', channel.wait_for_confirms, 'returned:', returned.size)
say('in order:', drain(queue) == Array.new(COUNT, &:to_s))

tx = connection.create_channel
tx.tx_select
tx.default_exchange.publish('rolled back', routing_key: NAME)
tx.tx_rollback
tx.default_exchange.publish('committed', routing_key: NAME)
say('before commit:', drain(queue))
tx.tx_commit
say('after commit:', drain(queue))
exchange.delete
say('deleted:', queue.delete.message_count)
connection.close
