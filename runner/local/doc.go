// Package local runs tasks as processes on this machine.
//
// A task gets a folder of its own: a private copy of its snapshot as working
// directory, its inputs and a place for its outputs in it, a private home and
// temporary folder, and a clean environment. The folder is thrown away
// afterwards.
package local
