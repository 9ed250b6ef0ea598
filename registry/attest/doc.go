// Package attest says where an image comes from, in a form that others sign and
// check as well: an in-toto statement with a SLSA provenance, in a Sigstore
// bundle. A bundle is signed with a key, or without one by an identity that
// Sigstore vouches for.
//
// Start with [Provenance.Statement] and a [Signer] ([Key] or [Keyless]); to
// check, with [Verifier.Verify].
package attest
