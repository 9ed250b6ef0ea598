package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/modyard/modyard/registry/snapshot"
	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/schema"
)

// compareOutput says how an output differs from what a test expects.
func compareOutput(ctx context.Context, rec *runner.Record, name string, want schema.Expected, outputs, dir string) []string {
	var o *runner.OutputRecord
	for i := range rec.Outputs {
		if rec.Outputs[i].Name == name {
			o = &rec.Outputs[i]
		}
	}
	var out []string
	say := func(format string, args ...any) {
		out = append(out, fmt.Sprintf("output %s: ", name)+fmt.Sprintf(format, args...))
	}
	if o == nil {
		say("it was not written")
		return out
	}
	if o.Digest == "" {
		compareValue(o.Value, want, say)
		return out
	}
	if want.Value != nil || want.Minimum != nil || want.Maximum != nil {
		say("it is a %s; compare it with file, json or digest", o.Type)
		return out
	}
	if want.Digest != "" && o.Digest != want.Digest {
		say("its digest is %s, not %s", o.Digest, want.Digest)
	}
	got := filepath.Join(outputs, o.FileName())
	if want.File.Value != "" {
		compareBytes(ctx, got, filepath.Join(dir, filepath.FromSlash(want.File.Value)), want.File.Value, say)
	}
	if want.JSON.Value != "" {
		compareJSON(got, filepath.Join(dir, filepath.FromSlash(want.JSON.Value)), want, say)
	}
	return out
}

func compareValue(got any, want schema.Expected, say func(format string, args ...any)) {
	if want.Value != nil {
		if at, same := near(got, want.Value, want.Tolerance, ""); !same {
			say("%s%s, not %s", at, schema.Render(got), schema.Render(want.Value))
		}
	}
	if want.Minimum == nil && want.Maximum == nil {
		return
	}
	n := number(got)
	switch {
	case n == nil:
		say("%s is no number", schema.Render(got))
	case want.Minimum != nil && n.Cmp(number(*want.Minimum)) < 0:
		say("%s is less than %v", schema.Render(got), *want.Minimum)
	case want.Maximum != nil && n.Cmp(number(*want.Maximum)) > 0:
		say("%s is more than %v", schema.Render(got), *want.Maximum)
	}
}

// number is the exact value of a finite number, else nil: an integer is no
// double, which would cut it.
func number(v any) *big.Rat {
	if n, ok := v.(json.Number); ok {
		const digits = 1000 // at most, of an integer
		if !strings.ContainsAny(n.String(), ".eE") && len(n) <= digits {
			i, _ := new(big.Rat).SetString(n.String())
			return i
		}
		f, err := n.Float64()
		if err != nil {
			return nil
		}
		v = f
	}
	switch n := reflect.ValueOf(v); {
	case !n.IsValid():
		return nil
	case n.CanInt():
		return new(big.Rat).SetInt64(n.Int())
	case n.CanFloat():
		return new(big.Rat).SetFloat64(n.Float())
	}
	return nil
}

// within reports whether two numbers differ by no more than the tolerance.
func within(a, b *big.Rat, tolerance float64) bool {
	d := new(big.Rat).Sub(a, b)
	most := number(tolerance)
	return most != nil && d.Abs(d).Cmp(most) <= 0
}

// near compares two values as JSON has them; at is where they differ first.
func near(got, want any, tolerance float64, at string) (string, bool) {
	if w := number(want); w != nil {
		g := number(got)
		return at, g != nil && within(g, w, tolerance)
	}
	switch w := want.(type) {
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return at, false
		}
		for i := range w {
			if where, same := near(g[i], w[i], tolerance, fmt.Sprintf("%s[%d]", at, i)); !same {
				return where, false
			}
		}
		return at, true
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return at, false
		}
		for k := range g {
			if _, ok := w[k]; !ok {
				return at + "." + k, false
			}
		}
		for k := range w {
			if where, same := near(g[k], w[k], tolerance, at+"."+k); !same {
				return where, false
			}
		}
		return at, true
	}
	return at, reflect.DeepEqual(got, want)
}

// compareBytes compares two files, or two folders.
func compareBytes(ctx context.Context, got, want, name string, say func(format string, args ...any)) {
	a, errA := snapshot.Data(got)
	b, errB := snapshot.Data(want)
	if errA == nil && errB == nil {
		x, errX := a.Digest(ctx)
		y, errY := b.Digest(ctx)
		if errX != nil || errY != nil || x != y {
			say("the folder is not that of %s", name)
		}
		return
	}
	x, errX := os.ReadFile(got)
	y, errY := os.ReadFile(want)
	if err := errors.Join(errX, errY); err != nil {
		say("cannot be compared: %v", err)
		return
	}
	if bytes.Equal(x, y) {
		return
	}
	line := 1 + bytes.Count(x[:common(x, y)], []byte("\n"))
	say("it differs from %s in line %d", name, line)
}

// common is how many bytes two texts begin with alike.
func common(x, y []byte) int {
	n := 0
	for n < len(x) && n < len(y) && x[n] == y[n] {
		n++
	}
	return n
}

// parseJSON reads a document, its numbers as they are written.
func parseJSON(data []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after its end")
	}
	return v, nil
}

func compareJSON(got, want string, e schema.Expected, say func(format string, args ...any)) {
	var values [2]any
	for i, file := range []string{got, want} {
		data, err := os.ReadFile(file)
		if err == nil {
			values[i], err = parseJSON(data)
		}
		if err != nil {
			say("%s is no JSON: %v", filepath.Base(file), err)
			return
		}
	}
	if at, same := near(values[0], values[1], e.Tolerance, ""); !same {
		say("it differs from %s at %s", e.JSON.Value, cmpOr(strings.TrimPrefix(at, "."), "its root"))
	}
}
