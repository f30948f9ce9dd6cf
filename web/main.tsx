import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { z } from 'zod'
import { createClient } from '../src/client/index.ts'
import { BrokenPage } from './console/broken-page.tsx'
import { Console } from './console/console.tsx'
import { takeSignInCode } from './console/sign-in-code.ts'
import './styles/tokens.css'
import './styles/base.css'
import './styles/layout.css'
import './styles/task-list.css'
import './styles/task-panel.css'
import './styles/ticket-panel.css'
import './styles/notifications.css'

// The content security policy forbids the code that zod would compile its schemas to.
z.config({ jitless: true })

const root = document.getElementById('console')
if (root === null) throw new Error('index.html has no element #console')
const client = createClient({ baseUrl: '' })
// Before anything is drawn: a code works once, and React draws twice in development.
const signIn = takeSignInCode(client)

createRoot(root).render(
  <StrictMode>
    <BrokenPage>
      <Console client={client} signIn={signIn} />
    </BrokenPage>
  </StrictMode>,
)
