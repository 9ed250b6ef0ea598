// Package registry reads a registry of modules from a folder, picks versions,
// compares interfaces and checks the rules that hold for every registry.
//
// Start with [Open], then [Registry.Pick]; [Check] applies the rules. A
// registry is read lazily: only the manifests that an answer needs.
package registry
