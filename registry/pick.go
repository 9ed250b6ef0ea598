package registry

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/modyard/modyard/schema"
)

// Selectors with a name.
const (
	Latest      = "latest"
	LastUpdated = "last-updated"
	Work        = "work"
)

// PickOptions change how a version is picked. The zero value is the rule.
type PickOptions struct {
	// AllowDisabled picks a version that is named outright, or is the
	// default, though it is disabled. Default false.
	AllowDisabled bool
}

// Picked is a version that a selector stands for.
type Picked struct {
	*Version
	// Work says that the folder as it is now is meant, not the snapshot.
	Work bool
	// Warnings say what the user should know: that it is deprecated, and
	// what to use instead.
	Warnings []string
}

// Pick finds the version of a module that a selector stands for: the one
// function, the same everywhere.
//
// No selector means the module's default, or the latest when it has none.
// "latest" is the highest stable version, "last-updated" the stable one with
// the latest created; a range the highest stable one that fits; a number that
// one. A disabled version is never picked; a deprecated one only when nothing
// active fits, or when it is named or the default. What cannot be picked is a
// [*NotFoundError].
func (r *Registry) Pick(name, selector string, opt PickOptions) (Picked, error) {
	m, diags, err := r.Module(name)
	if err != nil {
		return Picked{}, err
	}
	if err := diags.Err(); err != nil {
		return Picked{}, err
	}
	return m.Pick(selector, opt)
}

// Pick is [Registry.Pick] for one module.
func (m *Module) Pick(selector string, opt PickOptions) (Picked, error) {
	p := &picker{m: m, opt: opt}
	if err := p.wholeModule(); err != nil {
		return Picked{}, err
	}
	if len(m.Versions) == 0 {
		return Picked{}, &NotFoundError{fmt.Sprintf("the module %q has no versions", m.Name), "modyard new version " + m.Name}
	}
	v, err := p.pick(selector)
	if err != nil {
		return Picked{}, err
	}
	return Picked{Version: v, Work: selector == Work, Warnings: p.warnings}, nil
}

// Without is the module as it would be without one of its versions.
func (m *Module) Without(version string) *Module {
	out := *m
	out.Versions = nil
	for _, v := range m.Versions {
		if v.String() != version {
			out.Versions = append(out.Versions, v)
		}
	}
	return &out
}

// as is the module as it would be with another manifest.
func (m *Module) as(manifest *schema.Module) *Module {
	out := *m
	out.Module, out.Versions = manifest, nil
	for _, v := range m.Versions {
		was := &Version{Number: v.Number, module: &out, path: v.path}
		was.Lifecycle, _ = manifest.Versions.Get(v.String())
		out.Versions = append(out.Versions, was)
	}
	return &out
}

type picker struct {
	m        *Module
	opt      PickOptions
	warnings []string
}

func (p *picker) wholeModule() error {
	l := p.m.Lifecycle
	switch l.State {
	case schema.Disabled:
		if !p.opt.AllowDisabled {
			return &NotFoundError{fmt.Sprintf("the module %q is disabled: %s", p.m.Name, l.Reason), useHint(l.Use)}
		}
		p.warnings = append(p.warnings, fmt.Sprintf("the module %q is disabled: %s", p.m.Name, l.Reason))
	case schema.Deprecated:
		p.warnings = append(p.warnings, withUse(fmt.Sprintf("the module %q is deprecated: %s", p.m.Name, l.Reason), l.Use))
	}
	return nil
}

func (p *picker) pick(selector string) (*Version, error) {
	switch selector {
	case "":
		if p.m.Default.Value == "" {
			return p.pick(Latest)
		}
		return p.exact(p.m.Default.Value, fmt.Sprintf("the default of module %q, version %s,", p.m.Name, p.m.Default.Value))
	case Latest:
		return p.best(selector, higher, func(v *Version) bool { return true })
	case LastUpdated:
		return p.best(selector, later, func(v *Version) bool { return true })
	case Work:
		if p.m.reg.Dir == "" {
			return nil, &NotFoundError{"@work is for registries in a folder of this disk", "name a version, or clone the registry"}
		}
		for i := len(p.m.Versions) - 1; i >= 0; i-- {
			if v := p.m.Versions[i]; v.State != schema.Disabled {
				return v, nil
			}
		}
		return nil, &NotFoundError{fmt.Sprintf("every version of %q is disabled", p.m.Name), ""}
	}
	if v, err := semver.StrictNewVersion(selector); err == nil && v.Metadata() == "" {
		return p.exact(selector, fmt.Sprintf("version %s of module %q", selector, p.m.Name))
	}
	c, err := Range(selector)
	if err != nil {
		return nil, err
	}
	return p.best(selector, higher, func(v *Version) bool { return c.Check(v.Number) })
}

// notRange finds what no range has: letters but x, and leading zeros.
var notRange = regexp.MustCompile(`[^0-9.^~<>=!,|xX* -]|(^|[^0-9])0[0-9]`)

// Range reads a selector that is a range of versions.
func Range(selector string) (*semver.Constraints, error) {
	c, err := semver.NewConstraint(selector)
	if err != nil || len(selector) > 128 || notRange.MatchString(selector) {
		return nil, &NotFoundError{
			fmt.Sprintf("%q selects no version", "@"+selector),
			"a selector is a version (@2.1.0), a range (@2, @2.1, @^2, @\">=1.2 <3\"), @latest, @last-updated or @work",
		}
	}
	return c, nil
}

func higher(a, b *Version) bool { return a.Number.GreaterThan(b.Number) }

func later(a, b *Version) bool {
	if ca, cb := a.Created(), b.Created(); !ca.Equal(cb) {
		return ca.After(cb)
	}
	return higher(a, b)
}

// best picks the best stable version that fits, an active one before any
// deprecated one.
func (p *picker) best(selector string, better func(a, b *Version) bool, fits func(*Version) bool) (*Version, error) {
	var best *Version
	var disabled, pre []string
	for _, v := range p.m.Versions {
		switch {
		case !fits(v) && v.Stable():
			continue
		case !v.Stable():
			pre = append(pre, v.String())
			continue
		case v.State == schema.Disabled:
			disabled = append(disabled, v.String())
			continue
		}
		if best == nil || (v.State == best.State && better(v, best)) || (v.State == "" && best.State == schema.Deprecated) {
			best = v
		}
	}
	if best != nil {
		p.warnDeprecated(best)
		return best, nil
	}
	e := &NotFoundError{Message: fmt.Sprintf("no version of %q fits %q", p.m.Name, "@"+selector)}
	switch {
	case len(disabled) > 0:
		v, _ := p.m.Version(disabled[len(disabled)-1])
		e.Message += ": " + disabled[len(disabled)-1] + " is disabled: " + v.Reason
		e.Hint = useHint(v.Use)
	case len(pre) == len(p.m.Versions):
		e.Hint = "there are only pre-releases, which must be named: @" + pre[len(pre)-1]
	default:
		e.Hint = p.there()
	}
	return nil, e
}

func (p *picker) exact(number, what string) (*Version, error) {
	v, ok := p.m.Version(number)
	if !ok {
		return nil, &NotFoundError{what + " does not exist", p.nearest(number)}
	}
	if v.State == schema.Disabled {
		msg := fmt.Sprintf("%s is disabled: %s", what, v.Reason)
		if !p.opt.AllowDisabled {
			return nil, &NotFoundError{msg, useHint(v.Use)}
		}
		p.warnings = append(p.warnings, msg)
	}
	p.warnDeprecated(v)
	return v, nil
}

func (p *picker) warnDeprecated(v *Version) {
	if v.State == schema.Deprecated {
		p.warnings = append(p.warnings, withUse(fmt.Sprintf("version %s of module %q is deprecated: %s", v, p.m.Name, v.Reason), v.Use))
	}
}

func (p *picker) nearest(number string) string {
	if near := schema.Nearest(number, p.m.numbers()); len(near) > 0 {
		return "did you mean " + strings.Join(near, " or ") + "?"
	}
	return p.there()
}

func (p *picker) there() string {
	const most = 8
	n := p.m.numbers()
	text := "there is "
	if len(n) > most {
		text, n = "the newest are ", n[len(n)-most:]
	}
	return text + strings.Join(n, ", ")
}

func useHint(use string) string {
	if use == "" {
		return ""
	}
	return "use " + use
}

func withUse(text, use string) string {
	if use == "" {
		return text
	}
	return text + "; use " + use
}

// AsNotFound returns the error as a [*NotFoundError] when it is one.
func AsNotFound(err error) (*NotFoundError, bool) { return errors.AsType[*NotFoundError](err) }
