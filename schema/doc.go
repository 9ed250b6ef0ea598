// Package schema holds modyard's manifests: their types, their JSON Schemas,
// positions in files and diagnostics. It reads bytes and returns values; it
// does no I/O and knows no network.
//
// Start with [ParsePipeline], [ParseModuleVersion], [ParseModule],
// [ParseRegistry] or [Parse] (which looks at the kind). Each returns the
// manifest and all the [Diagnostics] that the text alone can show: YAML,
// JSON Schema, and the rules that a schema cannot say. The manifest is nil
// when the text could not be read at all.
//
// The words are those of the field: a pipeline has steps, a step runs a
// module version, a version has inputs, outputs, params and secrets.
package schema

// APIVersion is the value of every manifest's apiVersion.
const APIVersion = "modyard.dev/v1"

// The kinds of manifest.
const (
	KindRegistry      = "Registry"
	KindModule        = "Module"
	KindModuleVersion = "ModuleVersion"
	KindPipeline      = "Pipeline"
	KindLock          = "Lock"
	KindModuleTest    = "ModuleTest"
)
