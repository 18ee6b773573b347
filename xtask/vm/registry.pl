# A registry of images in a directory: NAME/manifest, NAME/blobs/HEX. Read-only, one request after the other.
use strict;
use IO::Socket::INET;
use Socket qw(MSG_PEEK);

my ($root, $port) = @ARGV;
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 16, ReuseAddr => 1) or die $!;
while (my $client = $listener->accept) {
    next if fork;
    # Who would rather speak TLS shall not wait for an answer.
    recv $client, my $first, 1, MSG_PEEK;
    exit if $first eq "\x16";
    while (defined(my $request = <$client>)) {
        while (defined(my $header = <$client>)) { last if $header =~ /^\r?\n$/ }
        my ($method, $path) = split ' ', $request;
        my ($file, $type);
        if ($path =~ m{^/v2/([a-z0-9-]+)/manifests/}) {
            ($file, $type) = ("$root/$1/manifest", 'application/vnd.oci.image.manifest.v1+json');
        } elsif ($path =~ m{^/v2/([a-z0-9-]+)/blobs/sha256:([0-9a-f]+)$}) {
            ($file, $type) = ("$root/$1/blobs/$2", 'application/octet-stream');
        } elsif ($path eq '/v2/') {
            print $client "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
            next;
        }
        my $body = '';
        if (!$file || !open(my $in, '<:raw', $file)) {
            print $client "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
            next;
        } else {
            local $/;
            $body = <$in>;
        }
        print $client "HTTP/1.1 200 OK\r\nContent-Type: $type\r\nContent-Length: " . length($body) . "\r\n\r\n";
        print $client $body unless $method eq 'HEAD';
    }
    exit;
}
