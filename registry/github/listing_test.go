package github

import (
	"bytes"
	"slices"
	"testing"
)

// TestListing: a listing that was kept is read as it was, or not at all.
func TestListing(t *testing.T) {
	const text = "100644 00 7 a b/\nc\x00040000 11 0 modules\x00"
	for _, begin := range []string{keptWhole, keptCut} {
		data := []byte(begin + text)
		got, whole, ok := unpack(data)
		if !ok || whole != (begin == keptWhole) || string(got) != text {
			t.Errorf("%q became %q, %v, %v", data, got, whole, ok)
		}
		for _, bad := range [][]byte{nil, data[:len(data)-1], append(slices.Clone(data), 'x'), []byte(`{"Whole":true}`), data[1:], bytes.Replace(data, []byte(" 7 "), []byte(" x "), 1)} {
			if got, _, ok := unpack(bad); ok {
				t.Errorf("%q was read as %q", bad, got)
			}
		}
	}
}

// TestSort: folders of a listing are found whatever its order is, and hold
// what is below them.
func TestSort(t *testing.T) {
	list, _, ok := unpack([]byte(keptWhole + "100644 01 1 a/b/c\x00100644 02 2 z\x00040000 03 0 a\x00100644 04 4 a/d\x00100644 05 5 y/e\x00100644 06 6 a/b/f\x00"))
	if !ok {
		t.Fatal("it cannot be read")
	}
	root := &node{mode: modeDir, loaded: true, whole: true, below: []listing{list}}
	got := map[string]string{}
	var walk func(n *node, prefix string)
	walk = func(n *node, prefix string) {
		n.sort()
		for name, c := range n.children {
			if got[prefix+name] = c.mode + " " + c.object; c.isDir() {
				walk(c, prefix+name+"/")
			}
		}
	}
	walk(root, "")
	want := map[string]string{"a": "040000 03", "a/b": "040000 ", "a/b/c": "100644 01", "a/b/f": "100644 06", "a/d": "100644 04", "y": "040000 ", "y/e": "100644 05", "z": "100644 02"}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s is %q, not %q", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("there is %v", got)
	}
}
