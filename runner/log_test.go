package runner

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// written is what a log holds after the writes.
func written(t *testing.T, secrets map[string]string, writes ...string) string {
	t.Helper()
	l := &stepLog{path: filepath.Join(t.TempDir(), "logs", "a.log")}
	l.mask(secrets)
	for _, w := range writes {
		if n, err := l.Write([]byte(w)); n != len(w) || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
	}
	if err := l.finish(); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	data, err := os.ReadFile(l.path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(data)
}

func TestLogMasks(t *testing.T) {
	secret := map[string]string{"t": "password"}
	for name, tt := range map[string]struct {
		secrets map[string]string
		writes  []string
		want    string
	}{
		"whole":                 {secret, []string{"a password b"}, "a *** b"},
		"twice":                 {secret, []string{"passwordpassword"}, "***"},
		"split":                 {secret, []string{"a pass", "word b"}, "a *** b"},
		"letter by letter":      {secret, strings.Split("a password b", ""), "a *** b"},
		"a beginning":           {secret, []string{"pass", "age"}, "passage"},
		"a beginning at end":    {secret, []string{"my pass"}, "my pass"},
		"again and again":       {secret, []string{"pass", "pass", "word"}, "pass***"},
		"none":                  {nil, []string{"password"}, "password"},
		"empty":                 {map[string]string{"t": ""}, []string{"password"}, "password"},
		"short, one line":       {map[string]string{"t": "xyz"}, []string{"wxyz"}, "w***"},
		"lines":                 {map[string]string{"t": "first\nsecond\nab"}, []string{"second, ab, first"}, "***, ab, ***"},
		"one in another":        {map[string]string{"s": "pass", "t": "password"}, []string{"password pass"}, "*** ***"},
		"one in another, split": {map[string]string{"s": "pass", "t": "password"}, []string{"pass", "word"}, "***"},
		"overlapping":           {map[string]string{"s": "abcdef", "t": "efghij"}, []string{"abcdef", "ghij"}, "***"},
		"overlapping itself":    {map[string]string{"s": "abab"}, []string{"abababa", "b!"}, "***!"},
	} {
		if got := written(t, tt.secrets, tt.writes...); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// No secret gets through, however the text is cut into writes.
func FuzzLogMasks(f *testing.F) {
	f.Add("password", "word", "a password b", 5)
	f.Add("aaaab", "aaba", "aaaaaaaabaab", 3)
	f.Fuzz(func(t *testing.T, secret, other, text string, cut int) {
		secrets := map[string]string{"s": secret, "t": other}
		for _, s := range secrets {
			if len(s) < 4 || strings.TrimSpace(s) != s || strings.ContainsAny(s, "\n*") {
				return
			}
		}
		cut = max(0, min(cut, len(text)))
		got := written(t, secrets, text[:cut], text[cut:])
		if strings.Contains(got, secret) || strings.Contains(got, other) {
			t.Errorf("%q holds a secret of %q", got, secrets)
		}
		if whole := written(t, secrets, text); got != whole {
			t.Errorf("cut at %d it is %q, whole %q", cut, got, whole)
		}
	})
}

func TestLogBounds(t *testing.T) {
	l := &stepLog{path: filepath.Join(t.TempDir(), "a.log")}
	defer l.Close()
	line := append(bytes.Repeat([]byte("x"), 1<<20-1), '\n')
	if _, err := l.Write([]byte("first\n")); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if _, err := l.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Write([]byte("last\n")); err != nil {
		t.Fatal(err)
	}
	if n := cap(l.tail); n > 8<<20 {
		t.Errorf("the end takes %d bytes of memory", n)
	}
	if err := l.finish(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(l.path)
	if err != nil || len(data) > maxLogHead+maxLogTail+200 {
		t.Errorf("the log has %d bytes: %v", len(data), err)
	}
	for _, text := range []string{"first\n", "\nlast\n", "bytes more; the last 1048576 follow]"} {
		if !bytes.Contains(data, []byte(text)) {
			t.Errorf("the log lacks %q", text)
		}
	}
	if tail := l.lastLines(); tail[len(tail)-1] != "last" {
		t.Errorf("the last line is %q", tail[len(tail)-1])
	}
}

func TestLogTail(t *testing.T) {
	l := &stepLog{path: filepath.Join(t.TempDir(), "a.log")}
	defer l.Close()
	if got := l.lastLines(); got != nil || l.made() != "" {
		t.Errorf("before anything is printed: %q, %q", got, l.made())
	}
	for i := range 100 {
		if _, err := l.Write([]byte(strings.Repeat("x", i) + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	got := l.lastLines()
	if len(got) != tailLines || got[tailLines-1] != strings.Repeat("x", 99) || l.made() != l.path {
		t.Errorf("%d lines, the last %q", len(got), got[len(got)-1])
	}
	if !slices.IsSortedFunc(got, func(a, b string) int { return len(a) - len(b) }) {
		t.Error("they are out of order")
	}
}
