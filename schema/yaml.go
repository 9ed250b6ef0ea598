package schema

import (
	"bytes"
	"errors"
	"math"
	"regexp"
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
	if line, col, ok := badUTF8(data); ok {
		d.diags.Add(file, Pos{line, col}, RuleYAML, "save the file as UTF-8", "the text is not UTF-8")
		return d
	}
	if line, ok := tooDeep(data); ok {
		d.diags.Add(file, Pos{line, 1}, RuleYAML, "", "the text nests deeper than %d levels", maxDepth)
		return d
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var root yaml.Node
	if err := dec.Decode(&root); err != nil {
		pos, msg, hint := explainYAML(err, data)
		d.diags.Add(file, pos, RuleYAML, hint, "%s", msg)
		return d
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		d.diags.Add(file, nodePos(&second), RuleYAML, "make it a file of its own", "a second YAML document begins here; one file holds one manifest")
		return d
	}
	if len(root.Content) == 0 {
		d.diags.Add(file, Pos{1, 1}, RuleYAML, "", "the file is empty")
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

func badUTF8(data []byte) (line, col int32, bad bool) {
	if utf8.Valid(data) {
		return 0, 0, false
	}
	line, col = 1, 1
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && n == 1:
			return line, col, true
		case r == '\n':
			line, col = line+1, 1
		default:
			col++
		}
		data = data[n:]
	}
	return 0, 0, false
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

var yamlLine = regexp.MustCompile(`(?:yaml: )?(?:line (\d+): )?(.*)`)

// explainYAML makes a place and a message of a yaml.v3 syntax error, which
// carries a line in its text only.
func explainYAML(err error, data []byte) (Pos, string, string) {
	msg := err.Error()
	if te, ok := errors.AsType[*yaml.TypeError](err); ok && len(te.Errors) > 0 {
		msg = te.Errors[0]
	}
	pos := Pos{1, 1}
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			pos.Line = int32(n)
		}
		msg = m[2]
	}
	lines := bytes.Split(data, []byte("\n"))
	for i, l := range lines {
		indent := l[:len(l)-len(bytes.TrimLeft(l, " \t"))]
		if bytes.ContainsRune(indent, '\t') && strings.Contains(msg, "token") {
			return Pos{int32(i + 1), int32(bytes.IndexByte(l, '\t') + 1)}, "a tab stands in the indentation", "indent with spaces"
		}
	}
	if n := int(pos.Line) - 1; n >= 0 && n < len(lines) {
		l := lines[n]
		pos.Col = int32(len(l)-len(bytes.TrimLeft(l, " "))) + 1
	}
	hint := ""
	switch {
	case strings.Contains(msg, "mapping values are not allowed"):
		hint = "quote a text that holds \": \""
	case strings.Contains(msg, "cannot start any token"):
		hint = "quote a text that begins with %, @, ` or a tab"
	}
	return pos, "not YAML: " + msg, hint
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
			w.fail(k, "quote it: \""+clip(k.Value)+"\"", "the key %q is not a text", clip(k.Value))
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
	w.fail(n, "", "the tag %s is not read", clip(n.Tag))
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
