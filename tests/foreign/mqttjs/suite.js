// MQTT.js against the hub: node suite.js SCENE CA_FILE MQTT_PORT WEBSOCKET_PORT MQTTS_PORT WSS_PORT
//
// Each scene runs in MQTT 3.1, 3.1.1 and 5, over TCP, WebSocket, TLS and WebSocket over TLS, and ends with an error if
// anything differs.

const assert = require('node:assert')
const crypto = require('node:crypto')
const fs = require('node:fs')
const mqtt = require('mqtt')

const PATIENCE = 20_000
const METHOD = { authenticationMethod: 'SCRAM-SHA-256' }

/** A connected client whose messages are taken one at a time. */
class Person {
  static async arrives (way, user, device, options = {}) {
    const person = new Person()
    person.messages = []
    person.takers = []
    person.client = mqtt.connect(way.url, {
      protocolVersion: way.version,
      protocolId: way.version === 3 ? 'MQIsdp' : 'MQTT',
      clientId: device,
      username: user,
      reconnectPeriod: 0,
      connectTimeout: PATIENCE,
      ca: way.authority,
      ...options
    })
    if (options.scram) {
      person.client.handleAuth = (packet, done) => {
        const data = Buffer.from(options.scram.last(packet.properties.authenticationData.toString()))
        done(null, { cmd: 'auth', reasonCode: 0x18, properties: { ...METHOD, authenticationData: data } })
      }
    }
    person.client.on('message', (topic, payload, packet) => {
      const message = { topic, payload, qos: packet.qos, retain: packet.retain, text: payload.toString() }
      const taker = person.takers.shift()
      if (taker) taker(message)
      else person.messages.push(message)
    })
    const connack = await soon(`${device} connects`, (resolve, reject) => {
      person.client.once('connect', resolve)
      person.client.once('error', reject)
      person.client.once('close', () => reject(new Error('closed instead of CONNACK')))
    })
    person.sessionPresent = connack.sessionPresent
    person.verdict = connack.properties?.authenticationData?.toString()
    return person
  }

  async subscribes (topic, qos) {
    const [granted] = await this.client.subscribeAsync(topic, { qos })
    assert.strictEqual(granted.qos, qos, `SUBACK for ${topic}`)
  }

  publishes (topic, payload, options = { qos: 1 }) {
    return this.client.publishAsync(topic, payload, options)
  }

  receives () {
    if (this.messages.length > 0) return Promise.resolve(this.messages.shift())
    return soon('a message', resolve => this.takers.push(resolve))
  }

  leaves () {
    return this.client.endAsync()
  }

  vanishes () {
    this.client.stream.destroy()
    return this.client.endAsync(true)
  }
}

function soon (what, start) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what}: nothing in ${PATIENCE} ms`)), PATIENCE)
    const settle = end => value => { clearTimeout(timer); end(value) }
    start(settle(resolve), settle(reject))
  })
}

/** SCRAM-SHA-256 as RFC 5802 has it: the first message, and the last one for what the server said. */
function scram (user, password) {
  const hmac = (key, text) => crypto.createHmac('sha256', key).update(text).digest()
  const [nonce, escaped] = [crypto.randomBytes(18).toString('base64'), user.replace(/=/g, '=3D').replace(/,/g, '=2C')]
  const bare = `n=${escaped},r=${nonce}`
  const exchange = { first: `n,,${bare}` }
  exchange.last = challenge => {
    const [, all, salt, rounds] = challenge.match(/^r=([^,]+),s=([^,]+),i=(\d+)$/)
    assert.ok(all.startsWith(nonce) && all !== nonce, challenge)
    const salted = crypto.pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(rounds), 32, 'sha256')
    const key = hmac(salted, 'Client Key')
    const said = `${bare},${challenge},c=biws,r=${all}`
    const mask = hmac(crypto.createHash('sha256').update(key).digest(), said)
    exchange.verdict = 'v=' + hmac(hmac(salted, 'Server Key'), said).toString('base64')
    return `c=biws,r=${all},p=${key.map((byte, at) => byte ^ mask[at]).toString('base64')}`
  }
  return exchange
}

/** A session that outlives the connection. */
function kept (way) {
  return { clean: false, ...(way.version === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {}) }
}

const scenes = {
  async publishAndSubscribe (way) {
    const bob = await Person.arrives(way, 'bob', `bob-${way.tag}`)
    const alice = await Person.arrives(way, 'alice', `alice-${way.tag}`)
    await bob.subscribes('房间/+', 2)
    for (const qos of [0, 1, 2]) {
      await alice.publishes(`房间/${way.tag}`, `hi ${qos}`, { qos })
      const message = await bob.receives()
      assert.deepStrictEqual([message.topic, message.text, message.qos], [`房间/${way.tag}`, `hi ${qos}`, qos])
    }
    const big = Buffer.alloc(100_000, 'abc')
    await alice.publishes(`房间/${way.tag}`, big)
    assert.ok((await bob.receives()).payload.equals(big), 'a large message arrives whole')
    await alice.leaves()
    await bob.leaves()
  },

  async retained (way) {
    const alice = await Person.arrives(way, 'alice', `alice-${way.tag}`)
    const topic = `news/${way.tag}`
    await alice.publishes(topic, 'old', { qos: 1, retain: true })
    await alice.publishes(topic, 'new', { qos: 1, retain: true })
    const bob = await Person.arrives(way, 'bob', `bob-${way.tag}`)
    await bob.subscribes(topic, 1)
    const first = await bob.receives()
    assert.deepStrictEqual([first.text, first.retain], ['new', true])
    await alice.publishes(topic, '', { qos: 1, retain: true })
    const carol = await Person.arrives(way, 'carol', `carol-${way.tag}`)
    await carol.subscribes(topic, 1)
    await alice.publishes(topic, 'live')
    const live = await carol.receives()
    assert.deepStrictEqual([live.text, live.retain], ['live', false])
    for (const person of [alice, bob, carol]) await person.leaves()
  },

  async will (way) {
    const heir = await Person.arrives(way, 'heir', `heir-${way.tag}`)
    const topic = `wills/${way.tag}`
    await heir.subscribes(topic, 1)
    const will = text => ({ will: { topic, payload: Buffer.from(text), qos: 1, retain: false } })
    await (await Person.arrives(way, 'dora', `polite-${way.tag}`, will('said goodbye'))).leaves()
    await (await Person.arrives(way, 'dora', `dora-${way.tag}`, will('gone'))).vanishes()
    assert.strictEqual((await heir.receives()).text, 'gone')
    await heir.leaves()
  },

  async keptSession (way) {
    const before = await Person.arrives(way, 'bob', `kept-${way.tag}`, kept(way))
    await before.subscribes(`room/${way.tag}`, 2)
    await before.leaves()
    const alice = await Person.arrives(way, 'alice', `alice-${way.tag}`)
    await alice.publishes(`room/${way.tag}`, 'one', { qos: 1 })
    await alice.publishes(`room/${way.tag}`, 'two', { qos: 2 })
    const bob = await Person.arrives(way, 'bob', `kept-${way.tag}`, kept(way))
    assert.ok(bob.sessionPresent || way.version === 3, 'the session is there')
    assert.deepStrictEqual([(await bob.receives()).text, (await bob.receives()).text], ['one', 'two'])
    await alice.leaves()
    await bob.leaves()
  },

  async chat (way) {
    const [alice, bob] = [`alice${way.tag}`, `bob${way.tag}`]
    const watcher = await Person.arrives(way, 'watcher', `watcher-${way.tag}`)
    await watcher.subscribes(`p/${bob}`, 0)
    const phone = await Person.arrives(way, bob, `phone-${way.tag}`)
    await phone.subscribes(`u/${bob}/inbox`, 1)
    assert.strictEqual(JSON.parse((await watcher.receives()).text).state, 'online')
    const sender = await Person.arrives(way, alice, `sender-${way.tag}`)
    let seq = 0
    for (const text of ['hi', 'how are you? 😀']) {
      await sender.publishes(`dm/${bob}`, text)
      const seen = JSON.parse((await phone.receives()).text)
      assert.deepStrictEqual([seen.seq, seen.body, seen.from], [++seq, text, alice])
    }
    for (const person of [watcher, phone, sender]) await person.leaves()
  },

  async scram (way) {
    if (way.version !== 5) return
    const begins = (user, password) => {
      const exchange = scram(user, password)
      const properties = { ...METHOD, authenticationData: Buffer.from(exchange.first) }
      return { scram: exchange, properties }
    }
    const right = begins('alice', 'pass, word=')
    const alice = await Person.arrives(way, 'alice', `alice-${way.tag}`, right)
    assert.strictEqual(alice.verdict, right.scram.verdict, 'the server knows the password too')
    await alice.subscribes('u/alice/inbox', 1)
    const bob = await Person.arrives(way, 'bob=b,', `bob-${way.tag}`, begins('bob=b,', 'parola è questa'))
    await bob.publishes('dm/alice', 'hi')
    const seen = JSON.parse((await alice.receives()).text)
    assert.deepStrictEqual([seen.from, seen.body], ['bob=b,', 'hi'])
    for (const person of [alice, bob]) await person.leaves()
    await assert.rejects(Person.arrives(way, 'alice', `thief-${way.tag}`, begins('alice', 'guess')), { code: 0x86 })
  }
}

async function main ([scene, authorityFile, mqttPort, webSocketPort, mqttsPort, wssPort]) {
  const authority = fs.readFileSync(authorityFile)
  const doors = {
    tcp: `mqtt://127.0.0.1:${mqttPort}`,
    ws: `ws://127.0.0.1:${webSocketPort}/mqtt`,
    tls: `mqtts://127.0.0.1:${mqttsPort}`,
    wss: `wss://127.0.0.1:${wssPort}/mqtt`
  }
  for (const version of [3, 4, 5]) {
    for (const [door, url] of Object.entries(doors)) {
      console.log(scene, version, door)
      await scenes[scene]({ version, url, authority, tag: `${version}-${door}` })
    }
  }
}

main(process.argv.slice(2)).catch(error => {
  console.error(error)
  process.exit(1)
})
