package registry

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/modyard/modyard/schema"
)

// Bump is the part of a version number that a change must raise.
type Bump int

// The bumps, in rising order.
const (
	Patch Bump = iota
	Minor
	Major
)

// String is "patch", "minor" or "major".
func (b Bump) String() string { return [...]string{"patch", "minor", "major"}[b] }

// MarshalText writes the name.
func (b Bump) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// Change is one difference between two versions.
type Change struct {
	Where  string `json:"where"` // "inputs.data", "command", "source"
	What   string `json:"what"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	Bump   Bump   `json:"bump"`
}

// Difference is what changed from one version to another.
type Difference struct {
	Changes []Change `json:"changes"`
}

// Bump is the least bump that the changes need.
func (d Difference) Bump() Bump {
	b := Patch
	for _, c := range d.Changes {
		b = max(b, c.Bump)
	}
	return b
}

// Of lists the changes that need the bump.
func (d Difference) Of(b Bump) []Change {
	return slices.DeleteFunc(slices.Clone(d.Changes), func(c Change) bool { return c.Bump != b })
}

// String is one line for a change: "param epochs: default 200 → 300".
func (c Change) String() string {
	s := c.Where + ": " + c.What
	switch {
	case c.Before != "" && c.After != "":
		s += " (" + c.Before + " → " + c.After + ")"
	case c.Before != "":
		s += " (" + c.Before + ")"
	case c.After != "":
		s += " (" + c.After + ")"
	}
	return s
}

// Compare tells what changed from the older to the newer version.
func Compare(older, newer *schema.ModuleVersion) Difference {
	c := &comparison{}
	pairs(c, "inputs", older.Inputs, newer.Inputs, c.input,
		func(i schema.Input) bool { return !i.Optional }, func(i schema.Input) string { return dataType(i.Type, i.Format) })
	pairs(c, "params", older.Params, newer.Params, c.param,
		schema.Param.Required, func(p schema.Param) string { return p.TypeName() })
	pairs(c, "secrets", older.Secrets, newer.Secrets, c.secret,
		func(s schema.Secret) bool { return !s.Optional }, func(schema.Secret) string { return "" })
	pairs(c, "outputs", older.Outputs, newer.Outputs, c.output,
		func(schema.Output) bool { return false }, func(o schema.Output) string { return dataType(o.Type, o.Format) })
	c.implementation(older, newer)
	return Difference{c.changes}
}

type comparison struct{ changes []Change }

func (c *comparison) add(b Bump, where, what, before, after string) {
	c.changes = append(c.changes, Change{where, what, before, after, b})
}

// pairs compares one group of names. A change of - and _ or case is a rename.
func pairs[T any](c *comparison, group string, older, newer schema.Map[T], both func(where string, a, b T), required func(T) bool, show func(T) string) {
	for _, o := range older {
		where := group + "." + o.Name
		if n, ok := newer.Get(o.Name); ok {
			both(where, o.Value, n)
		} else {
			c.add(Major, where, "removed", show(o.Value), "")
		}
	}
	for _, n := range newer {
		if _, ok := older.Get(n.Name); ok {
			continue
		}
		if required(n.Value) {
			c.add(Major, group+"."+n.Name, "new and required", "", show(n.Value))
		} else if group == "outputs" {
			c.add(Minor, group+"."+n.Name, "new", "", show(n.Value))
		} else {
			c.add(Minor, group+"."+n.Name, "new and optional", "", show(n.Value))
		}
	}
}

func dataType(t schema.Type, format string) string {
	if format == "" {
		return string(t)
	}
	return string(t) + " " + format
}

func (c *comparison) input(where string, a, b schema.Input) {
	if a.Type != b.Type {
		c.add(Major, where, "type changed", string(a.Type), string(b.Type))
	}
	c.format(where, a.Format, b.Format)
	c.optional(where, a.Optional, b.Optional)
	c.description(where, a.Description, b.Description)
}

func (c *comparison) secret(where string, a, b schema.Secret) {
	c.optional(where, a.Optional, b.Optional)
	c.description(where, a.Description, b.Description)
}

func (c *comparison) optional(where string, a, b bool) {
	switch {
	case a && !b:
		c.add(Major, where, "made required", "", "")
	case !a && b:
		c.add(Minor, where, "made optional", "", "")
	}
}

func (c *comparison) format(where, a, b string) {
	if a != b {
		c.add(Major, where, "format changed", or(a, "none"), or(b, "none"))
	}
}

func (c *comparison) description(where, a, b string) {
	if a != b {
		c.add(Patch, where, "description changed", "", "")
	}
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func (c *comparison) param(where string, a, b schema.Param) {
	if c.retyped(where, a.Spec, b.Spec) {
		return
	}
	narrower, wider := constraints(a.Spec, b.Spec)
	for _, n := range narrower {
		c.add(Major, where, "narrower", n.before, n.after)
	}
	for _, w := range wider {
		c.add(Minor, where, "wider", w.before, w.after)
	}
	switch {
	case !a.Required() && b.Required():
		c.add(Major, where, "made required", defaultText(a), "")
	case a.Required() && !b.Required():
		c.add(Minor, where, "made optional", "", defaultText(b))
	case !reflect.DeepEqual(a.Default, b.Default):
		c.add(Minor, where, "default changed", defaultText(a), defaultText(b))
	}
	c.description(where, a.Description, b.Description)
}

func defaultText(p schema.Param) string {
	if p.Default == nil {
		return "none"
	}
	return schema.JSON(p.Default)
}

func (c *comparison) retyped(where string, a, b schema.Spec) bool {
	if a.TypeName() == b.TypeName() {
		return false
	}
	c.add(Major, where, "type changed", a.TypeName(), b.TypeName())
	return true
}

func (c *comparison) output(where string, a, b schema.Output) {
	if c.retyped(where, a.Spec, b.Spec) {
		return
	}
	narrower, wider := constraints(a.Spec, b.Spec)
	for _, w := range wider {
		c.add(Major, where, "wider", w.before, w.after)
	}
	for _, n := range narrower {
		c.add(Minor, where, "narrower", n.before, n.after)
	}
	c.format(where, a.Format, b.Format)
	if a.From.Value != b.From.Value {
		c.add(Patch, where, "comes from another step", a.From.Value, b.From.Value)
	}
	switch {
	case !a.Optional && b.Optional:
		c.add(Major, where, "made optional", "", "")
	case a.Optional && !b.Optional:
		c.add(Minor, where, "always written", "", "")
	}
	c.description(where, a.Description, b.Description)
}

type limits struct{ before, after string }

// constraints compares what two specs of one type allow.
func constraints(a, b schema.Spec) (narrower, wider []limits) {
	put := func(list *[]limits, before, after string) { *list = append(*list, limits{before, after}) }
	lacks := func(in, of []any) bool {
		return slices.ContainsFunc(of, func(v any) bool {
			return !slices.ContainsFunc(in, func(w any) bool { return reflect.DeepEqual(v, w) || schema.JSON(v) == schema.JSON(w) })
		})
	}
	enum := func(s schema.Spec) string {
		if len(s.Enum) == 0 {
			return "any"
		}
		return "enum " + schema.JSON(s.Enum)
	}
	if len(b.Enum) > 0 && (len(a.Enum) == 0 || lacks(b.Enum, a.Enum)) {
		put(&narrower, enum(a), enum(b))
	}
	if len(a.Enum) > 0 && (len(b.Enum) == 0 || lacks(a.Enum, b.Enum)) {
		put(&wider, enum(a), enum(b))
	}
	for _, side := range []int{-1, 1} {
		la, lb := boundOf(a, side), boundOf(b, side)
		if a.Type == schema.TypeInteger || a.Items == schema.TypeInteger {
			la, lb = la.whole(), lb.whole()
		}
		switch d := la.compare(lb); {
		case d == 0:
		case d*side < 0: // the newer bound lies further out
			put(&wider, la.String(), lb.String())
		default:
			put(&narrower, la.String(), lb.String())
		}
	}
	switch {
	case a.Pattern == b.Pattern:
	case b.Pattern == "":
		put(&wider, "pattern "+a.Pattern, "any")
	case a.Pattern == "":
		put(&narrower, "any", "pattern "+b.Pattern)
	default: // which of two patterns allows more cannot be told
		put(&narrower, "pattern "+a.Pattern, "pattern "+b.Pattern)
		put(&wider, "pattern "+a.Pattern, "pattern "+b.Pattern)
	}
	return narrower, wider
}

// bound is the lower (side -1) or upper (side 1) end of a range.
type bound struct {
	side int
	at   *float64 // nil: none
	open bool     // the end itself does not belong
}

func boundOf(s schema.Spec, side int) bound {
	closed, open := s.Minimum, s.ExclusiveMinimum
	if side > 0 {
		closed, open = s.Maximum, s.ExclusiveMaximum
	}
	switch {
	case open == nil:
		return bound{side, closed, false}
	case closed == nil || (*open-*closed)*float64(side) <= 0:
		return bound{side, open, true}
	}
	return bound{side, closed, false}
}

// whole is the outermost integer that the bound allows, as a bound.
func (b bound) whole() bound {
	if b.at == nil {
		return b
	}
	at := math.Ceil(*b.at*float64(-b.side)) * float64(-b.side)
	if b.open && at == *b.at {
		at -= float64(b.side)
	}
	return bound{b.side, &at, false}
}

// compare is negative when b lies to the left of o.
func (b bound) compare(o bound) int {
	switch {
	case b.at == nil && o.at == nil:
		return 0
	case b.at == nil:
		return b.side
	case o.at == nil:
		return -b.side
	case *b.at < *o.at:
		return -1
	case *b.at > *o.at:
		return 1
	case b.open == o.open:
		return 0
	case b.open:
		return -b.side
	}
	return b.side
}

func (b bound) String() string {
	if b.at == nil {
		return "unbounded"
	}
	word := map[[2]bool]string{{false, false}: "≥ ", {false, true}: "> ", {true, false}: "≤ ", {true, true}: "< "}[[2]bool{b.side > 0, b.open}]
	return word + schema.JSON(*b.at)
}

// implementation lists what a reviewer should look at beside the interface.
func (c *comparison) implementation(a, b *schema.ModuleVersion) {
	show := func(where string, same bool, before, after any) {
		if !same {
			c.add(Patch, where, "changed", clip(schema.JSON(before)), clip(schema.JSON(after)))
		}
	}
	c.description("description", a.Description, b.Description)
	ra, rb := a.Run, b.Run
	if (ra == nil) != (rb == nil) {
		c.add(Patch, "run", "changed between a command and steps", "", "")
		return
	}
	if ra == nil {
		show("registries", sameTexts(a.Registries, b.Registries), a.Registries, b.Registries)
		show("steps", schema.JSON(a.Steps) == schema.JSON(b.Steps), a.Steps, b.Steps)
		return
	}
	show("command", slices.EqualFunc(ra.Command, rb.Command, sameArgument), ra.Command, rb.Command)
	show("environment", sameEnvironment(ra.Environment, rb.Environment), ra.Environment, rb.Environment)
	show("env", sameTexts(ra.Env, rb.Env), ra.Env, rb.Env)
	show("network", ra.Network == rb.Network, ra.Network, rb.Network)
	show("resources", sameResources(ra.Resources, rb.Resources), ra.Resources, rb.Resources)
	show("timeout", ra.Timeout == rb.Timeout, ra.Timeout.String(), rb.Timeout.String())
	show("deterministic", ra.Nondeterministic == rb.Nondeterministic, !ra.Nondeterministic, !rb.Nondeterministic)
	if a.Snapshot != nil && b.Snapshot != nil && a.Snapshot.Digest != b.Snapshot.Digest {
		c.add(Patch, "source", "changed", a.Snapshot.Digest.Short(), b.Snapshot.Digest.Short())
	}
}

// Where a text stands in its file makes no difference.

func sameText(a, b schema.Text) bool { return a.Value == b.Value }

func sameTexts(a, b schema.Map[schema.Text]) bool {
	return slices.EqualFunc(a, b, func(x, y schema.Entry[schema.Text]) bool { return x.Name == y.Name && sameText(x.Value, y.Value) })
}

func sameArgument(a, b schema.Argument) bool {
	return a.Nested == b.Nested && slices.EqualFunc(a.Texts, b.Texts, sameText)
}

func sameEnvironment(a, b schema.Environment) bool {
	if a.Python == nil || b.Python == nil {
		return a.Python == b.Python && sameText(a.Image, b.Image)
	}
	return sameText(a.Python.Version, b.Python.Version) && sameText(a.Python.Requirements, b.Python.Requirements) && sameText(a.Image, b.Image)
}

func sameResources(a, b schema.Resources) bool {
	a.Pos, b.Pos = schema.Pos{}, schema.Pos{}
	return a == b
}

func clip(s string) string {
	const most = 120
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// Raised is the part of the number that was raised from older to newer.
func Raised(older, newer *semver.Version) Bump {
	switch {
	case newer.Major() != older.Major():
		return Major
	case newer.Minor() != older.Minor():
		return Minor
	}
	return Patch
}

// Least is the bump that a difference needs from a version on: in 0.x a
// breaking change bumps minor.
func Least(older *semver.Version, d Difference) Bump {
	b := d.Bump()
	if older.Major() == 0 && b == Major {
		return Minor
	}
	return b
}

// Next is the lowest version above older that is raised by the bump.
func Next(older *semver.Version, b Bump) *semver.Version {
	var v semver.Version
	switch b {
	case Major:
		v = older.IncMajor()
	case Minor:
		v = older.IncMinor()
	default:
		v = older.IncPatch()
	}
	return &v
}

// Table writes the changes as aligned lines.
func (d Difference) Table() string {
	if len(d.Changes) == 0 {
		return "nothing changed\n"
	}
	var b strings.Builder
	for _, bump := range []Bump{Major, Minor, Patch} {
		for _, c := range d.Of(bump) {
			fmt.Fprintf(&b, "%-6s %s\n", bump, c)
		}
	}
	return b.String()
}
