// @supabase/supabase-js as its users call it: the gatekeeper's address for that of the project, its two headers for every request.
import { createClient, FunctionsFetchError, FunctionsHttpError, FunctionsRelayError } from '@supabase/supabase-js'
import { base64, given, obey, tell } from './caller.mjs'

const { url, key, headers, token } = given
const client = createClient(url, key, {
  global: { headers },
  // Where somebody has signed in, the client sends that user's token instead of its key.
  ...(token && { accessToken: async () => token }),
})

let aborting

obey(async (wish) => {
  if (wish.abort) return aborting.abort()
  aborting = new AbortController()
  const options = { ...wish.options, body: bodyOf(wish.body ?? {}), signal: aborting.signal }
  const { data, error, response } = await client.functions.invoke(wish.invoke, options)
  if (data instanceof Response) return stream(data)
  tell({ data: await shown(data), error: error && (await shape(error)), ...(response && head(response)) })
})

function bodyOf({ json, text, bytes, blob, form }) {
  if (text !== undefined) return text
  if (bytes) return Uint8Array.from(bytes).buffer
  if (blob) return new Blob([Uint8Array.from(blob.bytes)], { type: blob.type })
  if (!form) return json
  const data = new FormData()
  for (const [name, value] of Object.entries(form)) {
    if (typeof value === 'string') data.set(name, value)
    else data.set(name, new Blob([value.file], { type: value.type }), value.name)
  }
  return data
}

async function shown(data) {
  if (data instanceof Blob) return { blob: base64(await data.arrayBuffer()), type: data.type }
  if (data instanceof FormData) return { form: Object.fromEntries(data) }
  return data
}

async function shape(error) {
  const kinds = { FunctionsHttpError, FunctionsRelayError, FunctionsFetchError }
  const kind = Object.keys(kinds).find((name) => error instanceof kinds[name]) ?? String(error)
  const { context } = error
  const body = context instanceof Response ? await context.text() : undefined
  return { kind, message: error.message, cause: context instanceof Error ? context.name : undefined, body }
}

const head = (response) => ({ status: response.status, headers: Object.fromEntries(response.headers) })

async function stream(response) {
  tell({ stream: 'begins', ...head(response) })
  for await (const piece of response.body) tell({ piece: Buffer.from(piece).toString() })
  tell({ stream: 'ends' })
}
