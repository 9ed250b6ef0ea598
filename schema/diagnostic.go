package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Pos is a place in a file: line and column count from 1, the column in
// characters. The zero Pos is no place.
type Pos struct{ Line, Col int32 }

// Severity says how bad a diagnostic is.
type Severity string

// The severities. A warning does not make the input bad.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Diagnostic is one problem in the input: where it is, which rule it breaks,
// what is wrong (the fact) and what to do (the advice).
type Diagnostic struct {
	File     string   `json:"file"`
	Pos      Pos      `json:"-"`
	Line     int32    `json:"line,omitempty"`
	Column   int32    `json:"column,omitempty"`
	Severity Severity `json:"severity"`
	Rule     Rule     `json:"rule"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`
}

// String gives "file:line:col: message [rule]", without the hint.
func (d Diagnostic) String() string {
	var b strings.Builder
	b.WriteString(d.File)
	if d.Line > 0 {
		b.WriteString(":" + strconv.Itoa(int(d.Line)) + ":" + strconv.Itoa(int(d.Column)))
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	if d.Severity == Warning {
		b.WriteString("warning: ")
	}
	fmt.Fprintf(&b, "%s [%s]", d.Message, d.Rule)
	return b.String()
}

// Diagnostics are the problems of one or more files.
type Diagnostics []Diagnostic

// Add appends an error.
func (ds *Diagnostics) Add(file string, pos Pos, rule Rule, hint, format string, args ...any) {
	ds.add(Error, file, pos, rule, hint, format, args...)
}

// Warn appends a warning.
func (ds *Diagnostics) Warn(file string, pos Pos, rule Rule, hint, format string, args ...any) {
	ds.add(Warning, file, pos, rule, hint, format, args...)
}

func (ds *Diagnostics) add(s Severity, file string, pos Pos, rule Rule, hint, format string, args ...any) {
	*ds = append(*ds, Diagnostic{
		File: file, Pos: pos, Line: pos.Line, Column: pos.Col, Severity: s, Rule: rule,
		Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// Sort orders by file, place, rule and message, and drops repetitions.
func (ds *Diagnostics) Sort() {
	slices.SortStableFunc(*ds, func(a, b Diagnostic) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	*ds = slices.Compact(*ds)
}

// Errors counts the diagnostics that are errors.
func (ds Diagnostics) Errors() int {
	n := 0
	for _, d := range ds {
		if d.Severity == Error {
			n++
		}
	}
	return n
}

// Err returns nil when there is no error among ds, else ds as an error.
func (ds Diagnostics) Err() error {
	if ds.Errors() == 0 {
		return nil
	}
	return &ProblemsError{ds}
}

// ProblemsError says that the input has problems, and carries them.
type ProblemsError struct{ Diagnostics Diagnostics }

// Error gives all problems, one a line.
func (e *ProblemsError) Error() string {
	lines := make([]string, len(e.Diagnostics))
	for i, d := range e.Diagnostics {
		lines[i] = d.String()
	}
	return strings.Join(lines, "\n")
}
