import { invalid, required, type FieldError } from './field-error.ts'
import { isObject, type Json } from './json.ts'
import type { KubernetesObject } from './kubernetes-object.ts'

const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const qualified =
  /^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/
const labelValue = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/

const subdomainText =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
const labelText =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
const qualifiedText =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
const dataKeyText =
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"

/** Keys of a ConfigMap or Secret, which are names of files where they are mounted. */
export function validateDataKeys(field: string, data: Json | undefined): FieldError[] {
  const bad = Object.keys(isObject(data) ? data : {}).filter((key) => !/^[-._a-zA-Z0-9]{1,253}$/.test(key))
  return bad.map((key) => invalid(`${field}[${key}]`, key, dataKeyText))
}

/** Rules for the metadata of every kind. */
export function validateMetadata(object: KubernetesObject, asLabel: boolean): FieldError[] {
  const errors: FieldError[] = []
  const { name } = object.metadata
  if (name === '') errors.push(required('metadata.name', 'name or generateName is required'))
  else if (asLabel && (!label.test(name) || name.length > 63)) errors.push(invalid('metadata.name', name, labelText))
  else if (!subdomain.test(name) || name.length > 253) errors.push(invalid('metadata.name', name, subdomainText))
  errors.push(...validateLabels(object.metadata['labels']), ...validateAnnotations(object.metadata['annotations']))
  const finalizers = object.metadata['finalizers']
  for (const [index, finalizer] of (Array.isArray(finalizers) ? finalizers : []).entries()) {
    if (typeof finalizer !== 'string' || !qualified.test(finalizer)) {
      errors.push(invalid(`metadata.finalizers[${index}]`, finalizer, qualifiedText))
    }
  }
  return errors
}

function validateLabels(labels: Json | undefined): FieldError[] {
  const errors: FieldError[] = []
  for (const [key, value] of Object.entries(isObject(labels) ? labels : {})) {
    if (!qualified.test(key)) {
      errors.push(invalid('metadata.labels', key, qualifiedText))
    }
    if (typeof value !== 'string' || !labelValue.test(value)) {
      errors.push(
        invalid(
          'metadata.labels',
          value,
          "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character, and be at most 63 characters",
        ),
      )
    }
  }
  return errors
}

function validateAnnotations(annotations: Json | undefined): FieldError[] {
  const errors: FieldError[] = []
  let bytes = 0
  for (const [key, value] of Object.entries(isObject(annotations) ? annotations : {})) {
    if (!qualified.test(key.toLowerCase())) {
      errors.push(invalid('metadata.annotations', key, qualifiedText))
    }
    if (typeof value === 'string') bytes += key.length + value.length
    else errors.push(invalid('metadata.annotations', value, 'must be a string'))
  }
  if (bytes > 262_144)
    errors.push(invalid('metadata.annotations', bytes, 'Too long: may not be more than 262144 bytes'))
  return errors
}
