package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Bounds of what is read from outside.
const (
	// MaxManifest is the greatest size of a registry's manifests, in bytes.
	MaxManifest = 1 << 20
	// MaxPipeline is the greatest size of a pipeline or its lock, in bytes.
	MaxPipeline = 64 << 20
	// maxDepth bounds how deep a manifest nests.
	maxDepth = 32
	// maxAliased bounds how many nodes the aliases of one manifest stand for.
	maxAliased = 10_000
)

// MaxSize returns the bound, in bytes, for a manifest of the kind.
func MaxSize(kind string) int64 {
	if kind == KindPipeline || kind == KindLock {
		return MaxPipeline
	}
	return MaxManifest
}

// document is one YAML text: its nodes, and the same as plain values for the
// JSON Schema validator.
type document struct {
	file  string
	root  *yaml.Node
	value any
	diags Diagnostics
}

// parseYAML reads one YAML document. On a text that cannot be read as YAML
// the root is nil.
func parseYAML(file string, data []byte, limit int64) *document {
	d := &document{file: file}
	if int64(len(data)) > limit {
		d.diags.Add(file, Pos{}, RuleYAML, "data belongs into inputs, not into manifests",
			"the file has %d bytes; at most %d are read", len(data), limit)
		return d
	}
	if pos, r, ok := badRune(data); ok && r == utf8.RuneError {
		d.diags.Add(file, pos, RuleYAML, "save the file as UTF-8", "the text is not UTF-8")
		return d
	} else if ok {
		d.diags.Add(file, pos, RuleYAML, "in double quotes it can be written as an escape", "the character %U cannot stand in YAML", r)
		return d
	}
	if line, ok := tooDeep(data); ok {
		d.diags.Add(file, Pos{line, 1}, RuleYAML, "", "the text nests deeper than %d levels", maxDepth)
		return d
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var root yaml.Node
	if err := dec.Decode(&root); errors.Is(err, io.EOF) {
		d.diags.Add(file, Pos{1, 1}, RuleYAML, "", "the file is empty")
		return d
	} else if err != nil {
		pos, msg, hint := explainYAML(err, data)
		d.diags.Add(file, pos, RuleYAML, hint, "%s", msg)
		return d
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		d.diags.Add(file, nodePos(&second), RuleYAML, "make it a file of its own", "a second YAML document begins here; one file holds one manifest")
		return d
	} else if !errors.Is(err, io.EOF) {
		pos, msg, hint := explainYAML(err, data)
		d.diags.Add(file, pos, RuleYAML, hint, "%s", msg)
		return d
	}
	w := walker{doc: d}
	d.value = w.plain(root.Content[0], 0)
	if w.stop {
		return d
	}
	d.root = root.Content[0]
	return d
}

// badRune finds the first character that YAML does not allow; RuneError stands
// for what is not UTF-8.
func badRune(data []byte) (at Pos, bad rune, found bool) {
	at = Pos{1, 1}
	for i, size := 0, 0; i < len(data); i += size {
		var r rune
		r, size = utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return at, r, true
		case r == '\n':
			at = Pos{at.Line + 1, 1}
			continue
		case r < ' ' && r != '\t' && r != '\r', r >= 0x7F && r < 0xA0 && r != 0x85, r == 0xFEFF && i > 0, r == 0xFFFE, r == 0xFFFF:
			return at, r, true
		}
		at.Col++
	}
	return Pos{}, 0, false
}

// tooDeep finds texts whose flow collections nest so deep that the parser
// itself would work hard, counting brackets outside quotes roughly: it may
// count too few inside odd quoting, where the walk over the nodes counts again.
func tooDeep(data []byte) (line int32, deep bool) {
	depth, run := 0, 0
	line = 1
	for _, c := range data {
		switch c {
		case '\n':
			line++
			run = 0
		case '[', '{':
			depth++
			run++
			if run > maxDepth || depth > 4096 {
				return line, true
			}
		case ']', '}':
			depth = max(0, depth-1)
			run = 0
		case '-', ' ':
		default:
			run = 0
		}
	}
	return 0, false
}

var (
	yamlLine = regexp.MustCompile(`(?:yaml: )?(?:line (\d+): )?(.*)`)
	// grammar matches the errors of yaml.v3's parser, which counts lines from 0;
	// its scanner counts from 1.
	grammar       = regexp.MustCompile(`^(did not find expected ('.' or|'-' indicator|key|node content|<)|found (duplicate %|incompatible|undefined tag))`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)
	conflict      = regexp.MustCompile(`(?m)^<{7} `)
)

// explainYAML makes a place and a message of a yaml.v3 syntax error, which
// carries a line in its text only.
func explainYAML(err error, data []byte) (Pos, string, string) {
	msg, at := err.Error(), 1
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		msg = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			at = n
			if grammar.MatchString(msg) {
				at++
			}
		}
	}
	src := newSource(data)
	if i := conflict.FindIndex(data); i != nil {
		return src.pos(i[0]), "a merge conflict stands here", "settle it and remove its marks"
	}
	if m := unknownAnchor.FindStringSubmatch(msg); m != nil {
		return src.pos(max(0, bytes.Index(data, []byte("*"+m[1])))), fmt.Sprintf("the alias *%s names no anchor", clip(m[1])), "quote a text that begins with *"
	}
	l := src.line(at)
	blank := l[:len(l)-len(bytes.TrimLeft(l, " \t"))]
	if tab := bytes.IndexByte(blank, '\t'); tab >= 0 {
		return Pos{int32(at), int32(tab + 1)}, "a tab stands in the indentation", "indent with spaces"
	}
	hint := ""
	switch {
	case strings.Contains(msg, "mapping values are not allowed"):
		hint = "quote a text that holds \": \"; indent the keys of one mapping alike"
	case strings.Contains(msg, "cannot start any token"):
		hint = "quote a text that begins with %, @, ` or a tab"
	case strings.Contains(msg, "did not find expected key"):
		hint = "indent the keys of one mapping alike"
	}
	return Pos{int32(at), int32(len(blank) + 1)}, "not YAML: " + msg, hint
}

// source finds places in a text. Lines end as in YAML 1.1.
type source struct {
	data   []byte
	starts []int // of the lines
}

func newSource(data []byte) *source {
	s := &source{data, []int{0}}
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '\n', c == '\r' && (i+1 == len(data) || data[i+1] != '\n'),
			c == 0x85 && i > 0 && data[i-1] == 0xC2,
			(c == 0xA8 || c == 0xA9) && i > 1 && data[i-1] == 0x80 && data[i-2] == 0xE2:
			s.starts = append(s.starts, i+1)
		}
	}
	return s
}

// line is the text of a line, counted from 1; empty beyond the end.
func (s *source) line(n int) []byte {
	if n < 1 || n > len(s.starts) {
		return nil
	}
	rest := s.data[s.starts[n-1]:]
	if n < len(s.starts) {
		rest = rest[:s.starts[n]-s.starts[n-1]]
	}
	return bytes.TrimRight(rest, "\r\n")
}

func (s *source) pos(offset int) Pos {
	i, found := slices.BinarySearch(s.starts, offset)
	if !found {
		i--
	}
	return Pos{int32(i + 1), int32(utf8.RuneCount(s.data[s.starts[i]:offset]) + 1)}
}

func (s *source) offset(p Pos) int {
	if p.Line < 1 || int(p.Line) > len(s.starts) {
		return len(s.data)
	}
	at := s.starts[p.Line-1]
	for col := int32(1); col < p.Col && at < len(s.data); col++ {
		_, n := utf8.DecodeRune(s.data[at:])
		at += n
	}
	return at
}

// expression finds the expression that begins n characters into a text that
// stands at t.Pos: the same one, counted, in whatever way it is quoted, folded
// or indented.
func (s *source) expression(t Text, n int) Pos {
	at := s.offset(t.Pos)
	for skip := strings.Count(string([]rune(t.Value)[:n]), "${{"); ; skip-- {
		i := bytes.Index(s.data[at:], []byte("${{"))
		if i < 0 {
			return t.Pos // written with escapes
		}
		if at += i; skip == 0 {
			return s.pos(at)
		}
		at += len("${{")
	}
}

func nodePos(n *yaml.Node) Pos { return Pos{int32(n.Line), int32(n.Column)} }

// walker turns nodes into plain values and refuses what JSON cannot say.
type walker struct {
	doc     *document
	aliased int // nodes that stand behind aliases
	inAlias int
	stop    bool // a bound was passed
}

func (w *walker) fail(n *yaml.Node, hint, format string, args ...any) {
	w.doc.diags.Add(w.doc.file, nodePos(n), RuleYAML, hint, format, args...)
}

func (w *walker) plain(n *yaml.Node, depth int) any {
	if w.stop {
		return nil
	}
	if depth > maxDepth {
		w.fail(n, "", "the text nests deeper than %d levels", maxDepth)
		w.stop = true
		return nil
	}
	if w.inAlias > 0 {
		if w.aliased++; w.aliased > maxAliased {
			w.fail(n, "write the text out", "the aliases stand for more than %d values", maxAliased)
			w.stop = true
			return nil
		}
	}
	switch n.Kind {
	case yaml.AliasNode:
		w.inAlias++
		defer func() { w.inAlias-- }()
		return w.plain(n.Alias, depth+1)
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, c := range n.Content {
			out[i] = w.plain(c, depth+1)
		}
		return out
	case yaml.MappingNode:
		return w.mapping(n, depth)
	}
	return w.scalar(n)
}

func (w *walker) mapping(n *yaml.Node, depth int) any {
	out := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := resolve(n.Content[i])
		if k.Kind != yaml.ScalarNode {
			w.fail(n.Content[i], "", "a key must be a text")
			continue
		}
		if k.Tag == "!!merge" {
			w.fail(k, "write the keys out, or use an alias for the whole value", "merge keys (<<) are not read")
			continue
		}
		if k.Tag != "!!str" && k.Tag != "!!timestamp" && !numericKey(k) {
			w.fail(k, "quote it: "+strconv.Quote(clip(k.Value)), "the key %q is not a text", clip(k.Value))
			continue
		}
		if _, dup := out[k.Value]; dup {
			w.fail(k, "keep one of them", "the key %q stands here twice", clip(k.Value))
			continue
		}
		out[k.Value] = w.plain(n.Content[i+1], depth+1)
		if w.stop {
			return nil
		}
	}
	return out
}

// numericKey lets a version such as 1.0 pass as a key, so that the schema can
// say what is wrong with it as a version.
func numericKey(k *yaml.Node) bool { return k.Tag == "!!float" && strings.Contains(k.Value, ".") }

func (w *walker) scalar(n *yaml.Node) any {
	switch n.Tag {
	case "!!str", "!!timestamp":
		return n.Value
	case "!!bool":
		var b bool
		if n.Decode(&b) == nil {
			return b
		}
	case "!!int":
		if i, ok := nodeInt(n); ok {
			return i
		}
		w.fail(n, "quote it if it is a text", "the integer %s does not fit 64 bits", clip(n.Value))
		return int64(0)
	case "!!float":
		var f float64
		if n.Decode(&f) == nil {
			if math.IsNaN(f) || math.IsInf(f, 0) {
				w.fail(n, "quote it if it is a text", "%s is not a finite number", clip(n.Value))
				return 0.0
			}
			if isWholeDecimal(n.Value) {
				w.fail(n, "quote it if it is a text", "the integer %s does not fit 64 bits", clip(n.Value))
			}
			return f
		}
	case "!!null":
		w.fail(n, "give a value, or leave the key out", "there is no value here")
		return nil
	case "!!binary":
		w.fail(n, "", "binary values are not read")
		return ""
	}
	w.fail(n, "", "the tag %q is not read", clip(n.Tag))
	return nil
}

func isWholeDecimal(s string) bool {
	s = strings.TrimLeft(s, "+-")
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func nodeInt(n *yaml.Node) (int64, bool) {
	if i, err := strconv.ParseInt(n.Value, 10, 64); err == nil && n.Value != "" && n.Value[0] != '+' && (len(n.Value) == 1 || n.Value[0] != '0') {
		return i, true
	}
	var i int64
	if n.Decode(&i) == nil {
		return i, true
	}
	return 0, false
}

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// clip shortens a text from outside for a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
