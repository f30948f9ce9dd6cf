const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Whether a request changes nothing by its method alone. */
export const isSafeMethod = (method: string): boolean => safeMethods.has(method)
