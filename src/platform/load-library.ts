import { MissingLibraryError } from './platform-error.ts'

/**
 * Loads a library that only one adapter needs, when that adapter starts.
 * @throws MissingLibraryError when the package itself is absent; a fault inside the package stays as it is
 */
export async function loadLibrary<T>(library: string, adapter: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (error) {
    if (isMissing(error, library)) throw new MissingLibraryError(library, adapter, { cause: error })
    throw error
  }
}

function isMissing(error: unknown, library: string): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    error.code === 'ERR_MODULE_NOT_FOUND' &&
    error.message.includes(`'${library}'`)
  )
}
