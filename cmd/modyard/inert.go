package main

import (
	"bytes"
	"io"
	"strings"
	"unicode"
)

// inert writes for the log of GitHub Actions, which takes a line that begins
// with :: for a command, and ##[ wherever it stands. Nothing that goes through
// it is a command; the texts in it may be anybody's.
type inert struct {
	w     io.Writer
	begun bool // the line has a character that is seen
}

func (i *inert) Write(p []byte) (int, error) {
	var b bytes.Buffer
	text := string(p)
	for at, r := range text {
		switch {
		case r == '\n' || r == '\r':
			i.begun = false
		case r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf):
			r = unicode.ReplacementChar
		case r == ':' && !i.begun:
			b.WriteString("> ")
		case r == '#' && strings.HasPrefix(text[at:], "#["):
			b.WriteString("# ")
			continue
		}
		i.begun = i.begun || unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S)
		b.WriteRune(r)
	}
	if _, err := i.w.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}
