package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
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
	// maxParts bounds the lines and elements of a text, each of which the parser
	// makes some 200 bytes of.
	maxParts = 4_000_000
	// maxText bounds a text without commas and line breaks, in bytes.
	maxText = 1 << 20
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
	data  []byte
	root  *yaml.Node
	value any
	diags Diagnostics
}

// parseYAML reads one YAML document. On a text that cannot be read as YAML
// the root is nil.
func parseYAML(file string, data []byte, limit int64) *document {
	d := &document{file: file, data: data}
	if int64(len(data)) > limit {
		d.diags.Add(file, Pos{}, RuleYAML, "data belongs into inputs, not into manifests",
			"the file has %d bytes; at most %d are read", len(data), limit)
		return d
	}
	if at, r, ok := badRune(data); ok {
		pos := newSource(data).pos(at)
		if r == utf8.RuneError {
			d.diags.Add(file, pos, RuleYAML, "save the file as UTF-8", "the text is not UTF-8")
		} else {
			d.diags.Add(file, pos, RuleYAML, "in double quotes it can be written as an escape", "the character %U cannot stand in YAML", r)
		}
		return d
	}
	if line, what := tooMuch(data); what != "" {
		d.diags.Add(file, Pos{line, 1}, RuleYAML, "", "%s", what)
		return d
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var root yaml.Node
	err := dec.Decode(&root)
	if errors.Is(err, io.EOF) || err == nil && root.Content[0].Kind == yaml.ScalarNode && root.Content[0].Value == "" && root.Content[0].Style == 0 {
		d.diags.Add(file, Pos{1, 1}, RuleYAML, "", "the file is empty")
		return d
	}
	if err != nil {
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
func badRune(data []byte) (at int, bad rune, found bool) {
	var size int
	for i := 0; i < len(data); i += size {
		if c := data[i]; c >= ' ' && c < 0x7F {
			size = 1
			continue
		}
		var r rune
		r, size = utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1,
			r < ' ' && r != '\t' && r != '\n' && r != '\r', r >= 0x7F && r < 0xA0 && r != 0x85,
			r == 0xFEFF && i > 0, r == 0xFFFE, r == 0xFFFF:
			return i, r, true
		}
	}
	return 0, 0, false
}

// tooMuch finds what would make the parser work hard: deep flow collections,
// very many parts, a very long text. It counts roughly, without regard to
// quotes; the walk over the nodes counts depth again.
func tooMuch(data []byte) (line int32, what string) {
	depth, run, parts, text := 0, 0, 0, 0
	line = 1
	for _, c := range data {
		text++
		switch c {
		case '\n':
			line++
			parts++
			run, text = 0, 0
		case ',':
			parts++
			run, text = 0, 0
		case '[', '{':
			depth++
			run++
			parts++
			text = 0
		case ']', '}':
			depth = max(0, depth-1)
			run = 0
		case '-', ' ':
		default:
			run = 0
		}
		switch {
		case run > maxDepth || depth > 4096:
			return line, fmt.Sprintf("the text nests deeper than %d levels", maxDepth)
		case parts > maxParts:
			return line, fmt.Sprintf("the file has more than %d lines and elements", maxParts)
		case text > maxText:
			return line, fmt.Sprintf("a text of more than %d bytes stands here", maxText)
		}
	}
	return 0, ""
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
		if b, ok := nodeBool(n); ok {
			return b
		}
	case "!!int":
		if i, ok := nodeInt(n); ok {
			return i
		}
		w.fail(n, "quote it if it is a text", "the integer %s does not fit 64 bits", clip(n.Value))
		return int64(0)
	case "!!float":
		if f, ok := nodeFloat(n); ok {
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

// What is written as usual is read here, several times as fast as by Decode.

func nodeBool(n *yaml.Node) (b, ok bool) {
	if n.Tag == "!!bool" && (n.Value == "true" || n.Value == "false") {
		return n.Value == "true", true
	}
	err := n.Decode(&b)
	return b, err == nil
}

func nodeFloat(n *yaml.Node) (f float64, ok bool) {
	if strings.Trim(n.Value, "0123456789.") == "" {
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil {
			return f, true
		}
	}
	err := n.Decode(&f)
	return f, err == nil
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
