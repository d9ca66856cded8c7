// Reads a public topic: each value checked by its schema, repeats dropped by ce_id, resumed where the group stopped.
import { readFileSync } from 'node:fs'
import { Consumer, stringDeserializers } from '@platformatic/kafka'
import Ajv from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'

const [brokers, topic, schema, groupId] = process.argv.slice(2)
const ajv = addFormats(new Ajv({ strict: false }))
const check = ajv.compile(JSON.parse(readFileSync(schema, 'utf8')))
const waits = { sessionTimeout: 10_000, heartbeatInterval: 3_000, rebalanceTimeout: 20_000 } // below the client's own 30 s a request
const consumer = new Consumer({ groupId, clientId: groupId, bootstrapBrokers: brokers.split(','), deserializers: stringDeserializers, ...waits })
const records = await consumer.consume({ topics: [topic], mode: 'committed', fallbackMode: 'earliest', autocommit: false })
const seen = new Set()

function read (text) {
  try {
    const value = text ? JSON.parse(text) : null // no value: forgotten
    return value === null || check(value) ? { value } : { wrong: ajv.errorsText(check.errors) }
  } catch {
    return { wrong: 'it is no JSON' }
  }
}

for await (const record of records) {
  const id = record.headers.get('ce_id')
  if (!seen.has(id)) {
    const { value, wrong } = read(record.value)
    if (wrong) console.error(`passed over ${id}: ${wrong}`) // said aloud, and passed over: it will not get better
    else console.log(JSON.stringify({ ce_id: id, value })) // your work goes here
    seen.add(id)
    if (seen.size > 100_000) seen.delete(seen.values().next().value)
  }
  await record.commit() // after the work
}
