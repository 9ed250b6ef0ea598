package schema

import (
	"bytes"
	"strings"

	"gopkg.in/yaml.v3"
)

// offset is where a node begins, in bytes.
func (e *Edit) offset(n *yaml.Node) int { return newSource(e.data).offset(nodePos(n)) }

// line is where a line begins, in bytes.
func (e *Edit) line(n int) int { return newSource(e.data).offset(Pos{int32(n), 1}) }

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
	if len(s) == 0 || !strings.ContainsRune("\"'{[", rune(s[0])) {
		return 0, false
	}
	depth := 0
	begins := true // a value may, so that a quote is not an apostrophe
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case begins && (c == '"' || c == '\''):
			l, ok := quoted(s[i:])
			if !ok {
				return 0, false
			}
			i += l - 1
		case c == '#' && strings.ContainsRune(" \t\n", rune(s[i-1])):
			l := bytes.IndexByte(s[i:], '\n')
			if l < 0 {
				return 0, false
			}
			i += l
			continue
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth == 0 {
			return i + 1, true
		}
		if !strings.ContainsRune(" \t\r\n", rune(c)) {
			begins = strings.ContainsRune("{[,:", rune(c))
		}
	}
	return 0, false
}

// quoted is the length of the quoted text that s begins with.
func quoted(s []byte) (int, bool) {
	for i := 1; i < len(s); i++ {
		switch {
		case s[0] == '"' && s[i] == '\\', s[0] == '\'' && s[i] == '\'' && i+1 < len(s) && s[i+1] == '\'':
			i++
		case s[i] == s[0]:
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
