// Package runner turns a pipeline into a plan of ModuleSteps, steps into
// tasks, and runs them, reusing the results of equal tasks.
//
// Start with [NewPlan], which resolves and type-checks a [schema.Pipeline]
// (read by [schema.ParsePipeline], or built in code), and [Plan.Run], which
// executes it on a [Compute] and keeps results in a [store.Store]:
//
//	pipeline text → schema.Pipeline → Plan of ModuleSteps → Tasks → results → Record
//
// The runner knows no registry: a [Resolver] hands it module versions.
package runner
