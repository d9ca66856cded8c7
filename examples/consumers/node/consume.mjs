// Reads a public topic: each value checked by its schema, repeats dropped by ce_id, resumed where the group stopped.
import { readFileSync } from 'node:fs'
import { Consumer, stringDeserializers } from '@platformatic/kafka'
import Ajv from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'

const [brokers, topic, schema, groupId] = process.argv.slice(2)
const check = addFormats(new Ajv({ strict: false })).compile(JSON.parse(readFileSync(schema, 'utf8')))
const consumer = new Consumer({ groupId, clientId: groupId, bootstrapBrokers: brokers.split(','), deserializers: stringDeserializers })
const records = await consumer.consume({ topics: [topic], mode: 'committed', fallbackMode: 'earliest', autocommit: false })
const seen = new Set()
for await (const record of records) {
  const id = record.headers.get('ce_id')
  if (!seen.has(id)) {
    const value = record.value ? JSON.parse(record.value) : null // no value: forgotten
    if (value && !check(value)) throw new Error(JSON.stringify(check.errors))
    console.log(JSON.stringify({ ce_id: id, value })) // your work goes here
    seen.add(id)
    if (seen.size > 100_000) seen.delete(seen.values().next().value)
  }
  await record.commit() // after the work
}
