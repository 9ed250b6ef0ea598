package schema

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/agnivade/levenshtein"
)

// Patterns without counts: a {0,127} is a hundred copies, which take a regexp
// milliseconds to compile at every start.
var (
	namePattern  = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	identPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
	exactPattern = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)
	envPattern   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// Bounds of names, in bytes.
const (
	maxName = 64
	maxEnv  = 128
)

// ValidName reports whether s may name a registry, a module or a pipeline.
func ValidName(s string) bool { return len(s) <= maxName && namePattern.MatchString(s) }

// ValidIdent reports whether s may name an input, output, param, secret or step.
func ValidIdent(s string) bool { return len(s) <= maxName && identPattern.MatchString(s) }

func validEnv(s string) bool { return len(s) <= maxEnv && envPattern.MatchString(s) }

// Unseen reports whether a terminal does something else with a character than to
// show it: a control character, or one that turns the direction of text. The
// ends of lines and tabs are not.
func Unseen(r rune) bool {
	return r != '\n' && r != '\t' && r != '\r' && unicode.IsControl(r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// ValidText reports whether s has no characters that are unseen.
func ValidText(s string) bool { return !strings.ContainsFunc(s, Unseen) }

// ValidVersion reports whether a selector names one version and not a range.
func ValidVersion(selector string) bool { return exactPattern.MatchString(selector) }

// Fold gives what must be unique among names: case and - or _ make no difference.
func Fold(ident string) string {
	return strings.ReplaceAll(strings.ToLower(ident), "-", "_")
}

// Nearest returns the candidates that name was most likely meant to be, best
// first, three at most.
func Nearest(name string, candidates []string) []string {
	type scored struct {
		name string
		d    int
	}
	const most = 3
	if len(name) > 256 {
		return nil
	}
	limit := max(2, len(name)/3)
	var near []scored
	for _, c := range candidates {
		if c == name {
			continue
		}
		if len(name) >= 3 && strings.HasPrefix(Fold(c), Fold(name)) {
			near = append(near, scored{c, 0})
			continue
		}
		if len(c) > len(name)+limit || len(name) > len(c)+limit {
			continue
		}
		d := levenshtein.ComputeDistance(Fold(name), Fold(c))
		if d <= limit && 2*d <= max(len(name), len(c)) {
			near = append(near, scored{c, d})
		}
	}
	slices.SortStableFunc(near, func(a, b scored) int { return cmp.Or(cmp.Compare(a.d, b.d), cmp.Compare(a.name, b.name)) })
	var out []string
	for _, n := range near[:min(most, len(near))] {
		if near[0].d == 0 && n.d > 0 {
			break // name begins another one, which is nearer than any likeness
		}
		out = append(out, n.name)
	}
	return out
}

// DidYouMean makes a hint of the nearest candidates, or of all when they are
// few, or of nothing.
func DidYouMean(name string, candidates []string) string {
	if near := Nearest(name, candidates); len(near) > 0 {
		return fmt.Sprintf("did you mean %s?", QuoteList(near, "or"))
	}
	switch n := len(candidates); {
	case n == 0:
		return ""
	case n <= 16:
		sorted := slices.Sorted(slices.Values(candidates))
		return "there is " + QuoteList(sorted, "and")
	}
	return ""
}

// QuoteList gives "a", "b" and "c" for names and "and".
func QuoteList(names []string, conj string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	if len(quoted) < 2 {
		return strings.Join(quoted, "")
	}
	last := len(quoted) - 1
	return strings.Join(quoted[:last], ", ") + " " + conj + " " + quoted[last]
}
