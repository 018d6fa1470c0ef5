# errors.rb - the exceptions Bunny makes of the broker's answers

require_relative 'libclient'

NAME = 'interop.ruby.errors'
EXCHANGE = "#{NAME}.x"
MISSING = 'interop.ruby.missing'

CASES = {
  'passive queue' => ->(channel) { channel.queue_declare(MISSING, passive: true) },
  'passive exchange' => ->(channel) { channel.exchange_declare(MISSING, :direct, passive: true) },
  'consume' => ->(channel) { channel.basic_consume(MISSING) },
  'bind' => ->(channel) { channel.queue_bind(NAME, MISSING) },
  'durable differs' => ->(channel) { channel.queue_declare(NAME, durable: true) },
  'type differs' => ->(channel) { channel.exchange_declare(EXCHANGE, :fanout) },
  'exclusive elsewhere' => ->(channel) { channel.queue_declare("#{NAME}.mine", passive: true) },
  'reserved' => ->(channel) { channel.exchange_declare('amq.interop', :direct) },
  'delete a system exchange' => ->(channel) { channel.exchange_delete('amq.topic') },
  'no transaction' => ->(channel) { channel.tx_commit }
}.freeze

def channel_error(connection, what)
  channel = connection.create_channel
  yield channel
  say("#{what}: accepted")
rescue Bunny::ChannelLevelException => e
  say("#{what}: #{e.class}, #{e.channel_close.reply_code} #{e.message}")
end

# Acknowledging has no answer, so Bunny tells the channel's error handler. It knows the case by the
# words "unknown delivery tag" in the text.
def unknown_tag(connection)
  channel = connection.create_channel
  closes = Queue.new
  channel.on_error { |_, close| closes << close }
  channel.basic_ack(42, false)
  close = take(closes)
  say("unknown tag: #{close.reply_code} #{close.reply_text},",
      "method #{close.class_id}.#{close.method_id}")
end

# Publishing has none either; Bunny keeps the close for the next operation.
def lost_publish(connection)
  channel = connection.create_channel
  channel.basic_publish('x', MISSING, 'k')
  wait_until('the close') { channel.closed? }
  channel.prefetch(1)
rescue Bunny::ChannelAlreadyClosed => e
  say("publish: #{e.class}")
end

def refused(what, options)
  connect(options).close
  say("#{what}: accepted")
rescue Bunny::Exception => e
  say("#{what}: #{e.class}, #{e.message}")
end

owner = connect
setup = owner.create_channel
fresh_queue(setup, NAME)
fresh_exchange(setup, :direct, EXCHANGE)
setup.queue("#{NAME}.mine", exclusive: true)

connection = connect
CASES.each { |what, provoke| channel_error(connection, what, &provoke) }
lost_publish(connection)
unknown_tag(connection)
connection.close

refused('wrong password', password: 'wrong')
refused('unknown vhost', vhost: 'interop-none')
setup.queue_delete(NAME)
setup.exchange_delete(EXCHANGE)
owner.close
