// Package util stands in for the article's: the hash by which messages are numbered.
package util

var table [256]uint32

func init() {
	for i := range table {
		c := uint32(i) << 24
		for bit := 0; bit < 8; bit++ {
			if c&0x80000000 != 0 {
				c = c<<1 ^ 0x04C11DB7
			} else {
				c <<= 1
			}
		}
		table[i] = c
	}
}

// StringHash is taken over characters, not bytes.
func StringHash(s string) uint32 {
	var h uint32
	for _, ch := range s {
		h = h>>8 ^ table[(h^uint32(ch))&0xFF]
	}
	return h
}
