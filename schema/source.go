package schema

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// source finds places in a text. Lines end as in YAML 1.1.
type source struct {
	data   []byte
	starts []int // of the lines
}

func newSource(data []byte) *source {
	s := &source{data, []int{0}}
	for i := range data {
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
