// Package local runs tasks as processes on this machine.
//
// A task gets two folders of its own: a private copy of its snapshot as working
// directory, with its inputs and a place for its outputs in it, and a home that
// takes its temporary files as well; and a clean environment. The folders are
// thrown away afterwards.
package local
