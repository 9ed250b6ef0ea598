package schema

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// Edit changes a YAML text in place: comments, order, quoting and empty lines
// of all that is not changed stay as they are.
type Edit struct{ data []byte }

// NewEdit begins to change a text.
func NewEdit(data []byte) *Edit { return &Edit{bytes.Clone(data)} }

// Bytes is the text with all changes made so far.
func (e *Edit) Bytes() []byte { return e.data }

// Scalar writes a string as a YAML scalar, quoted when it must be.
func Scalar(s string) string {
	if strings.ContainsAny(s, "\n\r") {
		return JSON(s)
	}
	out, err := yaml.Marshal(s)
	if err != nil || bytes.Count(out, []byte("\n")) > 1 {
		return JSON(s)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// Set gives the mapping at path[:len-1] the entry path[len-1] with a value
// written as YAML: one line, or a block mapping without indentation. What is
// missing of the path is made.
func (e *Edit) Set(value string, path ...string) error {
	root, err := e.parse()
	if err != nil {
		return err
	}
	parent, depth := descend(root, path)
	key, rest := path[depth], path[depth+1:]
	for i := len(rest) - 1; i >= 0; i-- {
		value = Scalar(rest[i]) + ":" + after(value)
	}
	if parent.Kind != yaml.MappingNode {
		return fmt.Errorf("cannot set %s: %s is no mapping", strings.Join(path, "."), strings.Join(path[:depth], "."))
	}
	changed, err := e.put(parent, key, value)
	if err != nil {
		return fmt.Errorf("cannot set %s: %w", strings.Join(path, "."), err)
	}
	return e.accept(changed)
}

// Delete drops the entry at path, and the mappings that it leaves empty.
func (e *Edit) Delete(path ...string) error {
	root, err := e.parse()
	if err != nil {
		return err
	}
	parent, depth := descend(root, path)
	if depth != len(path)-1 || find(parent, path[depth]) < 0 {
		return nil
	}
	if len(parent.Content) == 2 && depth > 0 {
		return e.Delete(path[:depth]...)
	}
	i := find(parent, path[depth])
	if parent.Style&yaml.FlowStyle != 0 {
		parent.Content = append(parent.Content[:i:i], parent.Content[i+2:]...)
		changed, err := e.reflow(parent)
		if err != nil {
			return err
		}
		return e.accept(changed)
	}
	from, to := e.extent(parent, i)
	return e.accept(splice(e.data, from, to, ""))
}

func (e *Edit) parse() (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(e.data, &doc); err != nil {
		return nil, fmt.Errorf("cannot edit: %w", err)
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("cannot edit: the text is no mapping")
	}
	return doc.Content[0], nil
}

// accept takes the changed text when it is still YAML.
func (e *Edit) accept(changed []byte) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(changed, &doc); err != nil {
		return fmt.Errorf("the edit would break the file: %w", err)
	}
	e.data = changed
	return nil
}

// descend follows the path as far as it exists, short of its last element.
func descend(n *yaml.Node, path []string) (*yaml.Node, int) {
	for i, p := range path[:len(path)-1] {
		j := find(n, p)
		if j < 0 {
			return n, i
		}
		n = resolve(n.Content[j+1])
	}
	return n, len(path) - 1
}

func find(n *yaml.Node, key string) int {
	if n.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i
		}
	}
	return -1
}

// put sets one entry of a mapping that exists.
func (e *Edit) put(parent *yaml.Node, key, value string) ([]byte, error) {
	i := find(parent, key)
	if parent.Style&yaml.FlowStyle != 0 {
		var v yaml.Node
		if err := yaml.Unmarshal([]byte(value), &v); err != nil {
			return nil, err
		}
		if i >= 0 {
			parent.Content[i+1] = v.Content[0]
		} else {
			parent.Content = append(parent.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, v.Content[0])
		}
		return e.reflow(parent)
	}
	if i < 0 {
		last := len(parent.Content) - 2
		_, to := e.extent(parent, last)
		text := indent(Scalar(key)+":"+after(value), parent.Column-1) + "\n"
		if to > 0 && e.data[to-1] != '\n' {
			text = "\n" + text
		}
		return splice(e.data, to, to, text), nil
	}
	v := parent.Content[i+1]
	if end, ok := e.end(v); ok && !strings.Contains(value, "\n") {
		return splice(e.data, e.offset(v), end, value), nil
	}
	from, to := e.extent(parent, i)
	return splice(e.data, from, to, indent(Scalar(key)+":"+after(value), parent.Column-1)+"\n"), nil
}

// after writes what follows a key and its colon.
func after(value string) string {
	if strings.Contains(value, "\n") || isBlock(value) {
		return "\n" + indent(value, 2)
	}
	return " " + value
}

// isBlock reports whether a text of one line is a block mapping's entry.
func isBlock(value string) bool {
	var n yaml.Node
	if yaml.Unmarshal([]byte(value), &n) != nil || len(n.Content) == 0 {
		return false
	}
	c := n.Content[0]
	return c.Kind == yaml.MappingNode && c.Style&yaml.FlowStyle == 0
}

func indent(text string, by int) string {
	pad := strings.Repeat(" ", by)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, l := range lines {
		if l != "" {
			lines[i] = pad + l
		}
	}
	return strings.Join(lines, "\n")
}

func splice(data []byte, from, to int, text string) []byte {
	out := make([]byte, 0, len(data)+len(text))
	out = append(out, data[:from]...)
	out = append(out, text...)
	return append(out, data[to:]...)
}

// offset is where a node begins, in bytes.
func (e *Edit) offset(n *yaml.Node) int {
	at := e.line(n.Line)
	for col := 1; col < n.Column && at < len(e.data); col++ {
		at++
		for at < len(e.data) && e.data[at]&0xC0 == 0x80 {
			at++
		}
	}
	return at
}

// line is where a line begins, in bytes.
func (e *Edit) line(n int) int {
	at := 0
	for ; n > 1; n-- {
		i := bytes.IndexByte(e.data[at:], '\n')
		if i < 0 {
			return len(e.data)
		}
		at += i + 1
	}
	return at
}

// end is where a value ends that stands on one line; ok is false for others.
func (e *Edit) end(n *yaml.Node) (end int, ok bool) {
	at := e.offset(n)
	rest, _, _ := bytes.Cut(e.data[at:], []byte("\n"))
	switch {
	case n.Kind == yaml.ScalarNode && n.Style == 0:
		if n.Anchor == "" && bytes.HasPrefix(rest, []byte(n.Value)) {
			return at + len(n.Value), n.Value != ""
		}
	case n.Kind == yaml.ScalarNode && n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0,
		n.Style&yaml.FlowStyle != 0:
		if l, ok := balanced(rest); ok {
			return at + l, true
		}
	}
	return 0, false
}

// balanced is the length of the quoted or bracketed text that s begins with.
func balanced(s []byte) (int, bool) {
	depth := 0
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote == '"' && c == '\\':
			i++
			continue
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth == 0 && quote == 0 {
			return i + 1, true
		}
	}
	return 0, false
}

// extent is the range of whole lines of entry i of a block mapping: to the
// next line that is indented no deeper, without the comments and empty lines
// before it.
func (e *Edit) extent(parent *yaml.Node, i int) (from, to int) {
	k, v := parent.Content[i], parent.Content[i+1]
	from = e.line(k.Line)
	to = e.line(k.Line + 1)
	level := k.Column - 1
	for at := to; at < len(e.data); {
		l, _, _ := bytes.Cut(e.data[at:], []byte("\n"))
		next := min(at+len(l)+1, len(e.data))
		trimmed := bytes.TrimLeft(l, " ")
		deep := len(l) - len(trimmed)
		sequence := v.Kind == yaml.SequenceNode && deep == level && bytes.HasPrefix(trimmed, []byte("-"))
		switch {
		case len(bytes.TrimSpace(trimmed)) == 0 || trimmed[0] == '#' && deep <= level:
			// belongs to what follows, unless the entry goes on after it
		case deep > level || sequence:
			to = next
		default:
			return from, to
		}
		at = next
	}
	return from, to
}

// reflow writes a flow mapping anew.
func (e *Edit) reflow(n *yaml.Node) ([]byte, error) {
	at := e.offset(n)
	l, ok := balanced(e.data[at:])
	if !ok {
		return nil, errors.New("the mapping has no end")
	}
	return splice(e.data, at, at+l, Flow(n)), nil
}

// Flow writes a value (plain values, or a node) as YAML on one line.
func Flow(v any) string {
	var n yaml.Node
	if node, ok := v.(*yaml.Node); ok {
		n = *node
	} else if err := n.Encode(v); err != nil {
		return JSON(v)
	}
	return flow(&n)
}

func flow(n *yaml.Node) string {
	var parts []string
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			parts = append(parts, flow(n.Content[i])+": "+flow(n.Content[i+1]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case yaml.SequenceNode:
		for _, c := range n.Content {
			parts = append(parts, flow(c))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case yaml.AliasNode:
		return "*" + n.Value
	}
	if n.Tag == "!!str" || n.Tag == "" {
		if strings.ContainsAny(n.Value, ",[]{}#:&*!|>'\"%@`") {
			return JSON(n.Value)
		}
		return Scalar(n.Value)
	}
	return n.Value
}
