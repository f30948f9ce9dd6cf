import { accessCases } from './cases/access.ts'
import { applyCases } from './cases/apply.ts'
import { crudCases } from './cases/crud.ts'
import { deletionCases } from './cases/deletion.ts'
import { discoveryCases } from './cases/discovery.ts'
import { listCases } from './cases/lists.ts'
import { validationCases } from './cases/validation.ts'
import { watchCases } from './cases/watches.ts'
import type { ConformanceCase } from './conformance-case.ts'

export const allCases: readonly ConformanceCase[] = [
  ...discoveryCases,
  ...crudCases,
  ...validationCases,
  ...applyCases,
  ...listCases,
  ...watchCases,
  ...deletionCases,
  ...accessCases,
]
