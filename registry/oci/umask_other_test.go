//go:build !unix

package oci_test

func umask(int) (restore func()) { return func() {} }
