# rpc.rb - request/reply with Bunny over an exclusive reply queue and the direct reply-to

require_relative 'libclient'

NAME = 'interop.ruby.rpc'

def ask(channel, reply_to)
  replies = Queue.new
  reply_to.subscribe { |_, properties, body| replies << [properties.correlation_id, body] }
  %w[1 2 3].each do |number|
    channel.default_exchange.publish(number, routing_key: NAME, reply_to: reply_to.name,
                                             correlation_id: "request-#{number}")
  end
  say(reply_to.name, *Array.new(3) { take(replies) })
end

connection = connect
server = connection.create_channel
requests = fresh_queue(server, NAME)
requests.subscribe do |_, properties, body|
  server.default_exchange.publish((Integer(body)**3).to_s,
                                  routing_key: properties.reply_to,
                                  correlation_id: properties.correlation_id)
end

client_connection = connect
client = client_connection.create_channel
ask(client, client.queue('', exclusive: true))
direct = client_connection.create_channel
ask(direct, Bunny::Queue.new(direct, 'amq.rabbitmq.reply-to', no_declare: true))
client_connection.close
server.queue_delete(NAME)
connection.close
