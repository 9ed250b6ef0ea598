// Package conformance is the suite that every compute passes: the semantics of
// running pipelines, as data. A case is a document of a YAML file in
// testdata/conformance: a pipeline, the files around it, and runs of it one
// after the other, each with what is changed before it and what it must give.
//
// Beside what a case asks for, after every run the store is whole, nothing is
// left of the steps' folders, and no secret's value stands anywhere on disk.
package conformance
