// Reads a public topic: each value checked by its schema, repeats dropped by ce_id, resumed where the group stopped.
import { readFileSync } from 'node:fs'
import { Consumer, stringDeserializers } from '@platformatic/kafka'
import Ajv from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { LRUCache } from 'lru-cache'

const [brokers, topic, schema, groupId] = process.argv.slice(2)
const ajv = addFormats(new Ajv({ strict: false }))
const check = ajv.compile(JSON.parse(readFileSync(schema, 'utf8')))
const read = text => { try { return JSON.parse(text) } catch {} } // undefined where it is no JSON
// The waits stay below the 30 s that this client gives each of its requests.
const group = { groupId, clientId: groupId, sessionTimeout: 10_000, heartbeatInterval: 3_000, rebalanceTimeout: 20_000 }
const consumer = new Consumer({ ...group, bootstrapBrokers: brokers.split(','), deserializers: stringDeserializers })
const from = { mode: 'committed', fallbackMode: 'earliest', autocommit: false }
const records = await consumer.consume({ topics: [topic], ...from })
const seen = new LRUCache({ max: 100_000 })
for await (const record of records) {
  const id = record.headers.get('ce_id')
  if (!seen.has(id)) {
    const value = record.value ? read(record.value) : null // no value: forgotten
    if (value === null || check(value)) console.log(JSON.stringify({ ce_id: id, value })) // your work goes here
    else console.error(`passed over ${id}: ${value === undefined ? 'it is no JSON' : ajv.errorsText(check.errors)}`)
    seen.set(id, true)
  }
  await record.commit() // after the work
}
