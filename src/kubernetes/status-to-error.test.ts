import { describe, expect, test } from 'vitest'
import { parseRetryAfter, statusToError } from './status-to-error.ts'

const status = (code: number, reason: string, message: string, details: object = {}) => ({
  kind: 'Status',
  apiVersion: 'v1',
  status: 'Failure',
  code,
  reason,
  message,
  details,
})

describe('status to error', () => {
  test.each([
    ['401', 401, status(401, 'Unauthorized', 'Unauthorized'), { code: 'unauthorized', retryable: true }],
    ['403', 403, status(403, 'Forbidden', 'projects is forbidden'), { code: 'forbidden', retryable: false }],
    [
      '403 in a namespace that is being deleted',
      403,
      status(403, 'Forbidden', 'unable to create new content in namespace x because it is being terminated', {
        causes: [
          { reason: 'NamespaceTerminating', field: 'metadata.namespace', message: 'namespace x is being terminated' },
        ],
      }),
      { code: 'terminating', retryable: true },
    ],
    [
      '404 of an object',
      404,
      status(404, 'NotFound', 'things "a" not found', { name: 'a' }),
      { code: 'not_found', knowsKind: true },
    ],
    ['404 of a path', 404, '404 page not found', { code: 'not_found', knowsKind: false }],
    [
      '409 AlreadyExists',
      409,
      status(409, 'AlreadyExists', 'already exists'),
      { code: 'already_exists', retryable: false },
    ],
    [
      '409 of a precondition',
      409,
      status(409, 'Conflict', 'Precondition failed: UID'),
      { code: 'precondition_failed' },
    ],
    ['410', 410, status(410, 'Expired', 'too old resource version'), { code: 'expired' }],
    ['410 of former servers', 410, status(410, 'Gone', 'too old resource version'), { code: 'expired' }],
    [
      '422',
      422,
      status(422, 'Invalid', 'is invalid', {
        causes: [{ reason: 'FieldValueInvalid', field: 'spec.name', message: 'is bad' }],
      }),
      { code: 'invalid', retryable: false, fields: [{ field: 'spec.name', message: 'is bad' }] },
    ],
    [
      '422 of a uid that is another',
      422,
      status(422, 'Invalid', 'is invalid', { causes: [{ field: 'metadata.uid', message: 'field is immutable' }] }),
      { code: 'precondition_failed' },
    ],
    ['400', 400, status(400, 'BadRequest', 'unknown field "spec.foo"'), { code: 'invalid' }],
    ['405', 405, status(405, 'MethodNotAllowed', 'not allowed'), { code: 'invalid' }],
    [
      '429',
      429,
      status(429, 'TooManyRequests', 'try later', { retryAfterSeconds: 2 }),
      { code: 'throttled', retryAfterMs: 2000 },
    ],
    [
      '500',
      500,
      status(500, 'InternalError', 'etcdserver: request timed out'),
      { code: 'server_error', retryable: true },
    ],
    [
      '500 of an unknown field in a custom resource',
      500,
      status(
        500,
        '',
        'failed to create typed patch object (/a; test.dev/v1, Kind=Thing): .spec.foo: field not declared in schema',
      ),
      { code: 'invalid', retryable: false },
    ],
    ['503', 503, status(503, 'ServiceUnavailable', 'try later'), { code: 'server_error' }],
    ['504', 504, status(504, 'Timeout', 'Too large resource version'), { code: 'server_error' }],
    [
      '502 of a proxy',
      502,
      '<html>Bad Gateway</html>',
      { code: 'server_error', message: 'The API server answered 502: <html>Bad Gateway</html>' },
    ],
    ['an empty 503', 503, '', { code: 'server_error', message: 'The API server answered 503.' }],
    [
      'a 410 inside a watch event',
      500,
      status(410, 'Expired', 'too old resource version'),
      { code: 'expired', status: 410 },
    ],
  ])('%s', (_, http, body, expected) => {
    expect(statusToError(http, body)).toMatchObject(expected)
  })

  test('a conflict of server-side apply names each field and its owner', () => {
    const causes = [
      {
        reason: 'FieldManagerConflict',
        field: '.spec.runStrategy',
        message: 'conflict with "kubectl" using kubevirt.io/v1',
      },
      {
        reason: 'FieldManagerConflict',
        field: '.spec.size',
        message: 'conflict with "hpa" with subresource "scale" using v1',
      },
    ]
    expect(statusToError(409, status(409, 'Conflict', 'Apply failed with 2 conflicts', { causes }))).toMatchObject({
      code: 'conflict',
      conflicts: [
        { field: '.spec.runStrategy', owner: 'kubectl' },
        { field: '.spec.size', owner: 'hpa' },
      ],
    })
  })

  test('the Retry-After header comes before the body', () => {
    const body = status(429, 'TooManyRequests', 'try later', { retryAfterSeconds: 2 })
    expect(statusToError(429, body, { retryAfter: '7' })).toMatchObject({ retryAfterMs: 7000 })
  })

  test.each([
    ['null', null],
    ['a number', 7],
    ['a Status whose details are none', { kind: 'Status', details: [], causes: 1 }],
    ['causes that are none', { kind: 'Status', code: 422, details: { causes: [null, 'x', { field: 3 }] } }],
  ])('malformed: %s is an error too', (_, body) => {
    expect(statusToError(422, body)).toMatchObject({ code: 'invalid' })
  })
})

describe('Retry-After', () => {
  const now = Date.UTC(2026, 0, 1)
  test.each([
    ['3', 3000],
    ['0', 0],
    ['Thu, 01 Jan 2026 00:00:10 GMT', 10_000],
    ['Wed, 31 Dec 2025 23:59:00 GMT', 0],
    ['soon', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('%s', (value, expected) => {
    expect(parseRetryAfter(value, now)).toBe(expected)
  })
})
