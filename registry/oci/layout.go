package oci

import (
	"fmt"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
)

// WriteLayout adds an image to the OCI layout in a folder, which is made when
// it is not there. The image is named MODULE-VERSION in it.
func (i *Image) WriteLayout(dir string) (name string, err error) {
	p, err := layout.FromPath(dir)
	if os.IsNotExist(err) {
		p, err = layout.Write(dir, empty.Index)
	}
	if err != nil {
		return "", fmt.Errorf("cannot open the layout %s: %w", dir, err)
	}
	module, version := i.name()
	name = module + "-" + version
	options := []layout.Option{layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": name})}
	which := match.Name(name)
	if i.index != nil {
		err = p.ReplaceIndex(i.index, which, options...)
	} else {
		err = p.ReplaceImage(i.image, which, options...)
	}
	if err != nil {
		return "", fmt.Errorf("cannot write %s into the layout %s: %w", name, dir, err)
	}
	return name, nil
}

var _ v1.Layer = (*layer)(nil)
