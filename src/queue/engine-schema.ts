/** The schema that the engine keeps its tables in. Sluice reads them for status, here only, and never writes them. */
export const engineSchema = 'pgboss'
