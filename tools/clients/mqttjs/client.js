// mqtt.js as a client in the tests of cmd/nackmq.
//
//	node client.js ADDRESS VERSION sub FILTER   prints "ready", then TOPIC|QOS|RETAIN|PAYLOAD
//	node client.js ADDRESS VERSION pub          publishes what it reads: TOPIC|QOS|RETAIN|PAYLOAD
const mqtt = require('mqtt')
const readline = require('node:readline')

const [address, version, what, filter] = process.argv.slice(2)
const client = mqtt.connect(`mqtt://${address}`, {
  protocolVersion: Number(version),
  clientId: `mqttjs-${process.pid}`,
  reconnectPeriod: 0,
})
const fail = (err) => {
  console.error(`client.js: ${err}`)
  process.exit(1)
}
client.on('error', fail)

client.on('connect', async () => {
  try {
    if (what === 'sub') {
      client.on('message', (topic, payload, packet) => {
        console.log(`${topic}|${packet.qos}|${packet.retain ? 1 : 0}|${payload}`)
      })
      await client.subscribeAsync(filter, { qos: 2 })
      console.log('ready')
      process.stdin.on('end', () => client.end(false, () => process.exit(0))).resume()
      return
    }
    for await (const line of readline.createInterface({ input: process.stdin })) {
      const [topic, qos, retain, payload] = line.split('|')
      await client.publishAsync(topic, payload, { qos: Number(qos), retain: retain === '1' })
    }
    await client.endAsync()
  } catch (err) {
    fail(err)
  }
})
