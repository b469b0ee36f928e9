// Node's own fetch: an answer read piece by piece as it comes.
import { given, tell } from './caller.mjs'

const response = await fetch(given.url, { method: 'POST', headers: given.headers, body: given.body })
tell({ status: response.status, type: response.headers.get('content-type') })
for await (const piece of response.body) tell({ piece: Buffer.from(piece).toString() })
tell({ ended: true })
