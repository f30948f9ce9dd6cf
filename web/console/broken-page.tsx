import { Component, type ReactNode } from 'react'
import { Mark } from './mark.tsx'

/** Stands in for the page when drawing it went wrong, instead of nothing at all. React asks for a class here. */
export class BrokenPage extends Component<{ readonly children: ReactNode }, { readonly broken: boolean }> {
  override state = { broken: false }

  static getDerivedStateFromError() {
    return { broken: true }
  }

  override render() {
    if (!this.state.broken) return this.props.children
    return (
      <main className="page-center">
        <div className="card" role="alert">
          <Mark large />
          <h1>This page broke</h1>
          <p>Your tasks go on without it. The fault is written to the browser's console.</p>
          <button type="button" className="primary" onClick={() => location.reload()}>
            Load it again
          </button>
        </div>
      </main>
    )
  }
}
