# exchanges.rb - fanout, topic, headers and exchange-to-exchange bindings with Bunny

require_relative 'libclient'

PREFIX = 'interop.ruby.'

connection = connect
channel = connection.create_channel

fanout = fresh_exchange(channel, :fanout, "#{PREFIX}fanout")
queues = Array.new(2) { channel.queue('', exclusive: true).bind(fanout) }
2.times { |number| fanout.publish(number.to_s, routing_key: 'ignored') }
say('fanout:', *queues.map { |queue| drain(queue) })

topic = fresh_exchange(channel, :topic, "#{PREFIX}topic", auto_delete: true)
patterns = ['weather.#', 'weather.*.snow', '*.europe.*', '#']
bound = patterns.to_h do |pattern|
  [pattern, channel.queue('', exclusive: true).bind(topic, routing_key: pattern)]
end
%w[weather.europe.snow weather.asia.rain news.europe.today news].each do |key|
  topic.publish(key, routing_key: key)
end
bound.each { |pattern, queue| say('topic', pattern, drain(queue)) }
bound['#'].unbind(topic, routing_key: '#')
topic.publish('later', routing_key: 'weather.now')
say('after unbind:', bound.values.map { |queue| drain(queue) })

headers = fresh_exchange(channel, :headers, "#{PREFIX}headers")
rules = {
  'all' => { 'x-match' => 'all', 'os' => 'linux', 'cores' => 8 },
  'any' => { 'x-match' => 'any', 'os' => 'linux', 'cores' => 8 }
}
matched = rules.transform_values do |rule|
  channel.queue('', exclusive: true).bind(headers, arguments: rule)
end
headers.publish('both', headers: { 'os' => 'linux', 'cores' => 8 })
headers.publish('cores', headers: { 'os' => 'bsd', 'cores' => 8 })
headers.publish('text', headers: { 'os' => 'bsd', 'cores' => '8' })
matched.each { |name, queue| say('headers', name, drain(queue)) }

source = fresh_exchange(channel, :direct, "#{PREFIX}source")
fanout.bind(source, routing_key: 'through')
source.publish('through', routing_key: 'through')
source.publish('not', routing_key: 'other')
say('exchange to exchange:', *queues.map { |queue| drain(queue) })
fanout.unbind(source, routing_key: 'through')
source.publish('unbound', routing_key: 'through')
say('unbound:', *queues.map { |queue| drain(queue) })

bound.each_value(&:delete)
say('topic exchange is gone:', !connection.exchange_exists?("#{PREFIX}topic"))
[fanout, headers, source].each(&:delete)
connection.close
