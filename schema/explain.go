package schema

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

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
	if strings.Contains(msg, "exceeded max depth") {
		return Pos{int32(at), 1}, fmt.Sprintf("the text nests deeper than %d levels", maxDepth), ""
	}
	src := newSource(data)
	at = min(at, len(src.starts))
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
