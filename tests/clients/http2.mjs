// Node's HTTP/2: many requests at once on one connection, without TLS.
import { connect } from 'node:http2'
import { given, tell } from './caller.mjs'

const session = connect(given.url)
const one = (number) =>
  new Promise((done, failed) => {
    const request = session.request({ ':method': 'POST', ':path': `${given.path}?n=${number}`, ...given.headers })
    let [status, id, body] = [0, '', '']
    request.on('response', (head) => ([status, id] = [head[':status'], head['x-call-id']]))
    request.setEncoding('utf8')
    request.on('data', (piece) => (body += piece))
    request.on('end', () => done({ status, id, body }))
    request.on('error', failed)
    request.end(given.body)
  })
const numbers = Array.from({ length: given.streams }, (_, number) => number)
for (const answer of await Promise.all(numbers.map(one))) tell(answer)
session.close()
