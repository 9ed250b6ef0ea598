package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/modyard/modyard/schema"
)

// table aligns rows on stdout.
type table struct {
	out  io.Writer
	text *strings.Builder
	tabs *tabwriter.Writer
}

func (a *app) table() *table {
	var b strings.Builder
	return &table{a.out, &b, tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)}
}

func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = strings.Map(func(r rune) rune {
			switch {
			case r == '\t' || r == '\n' || r == '\r':
				return ' '
			case schema.Unseen(r):
				return '\ufffd'
			}
			return r
		}, c)
	}
	fmt.Fprintln(t.tabs, strings.Join(cells, "\t"))
}

// flush writes the rows, without spaces at the ends of lines.
func (t *table) flush() error {
	if err := t.tabs.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(t.text.String()) {
		if _, err := fmt.Fprintln(t.out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func bytesText(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
