//! Networks and endpoints.

use crate::go::{List, Map, is_default, objects};

objects! {
    /// One network of one container.
    struct EndpointSettings {
        #[serde(rename = "IPAMConfig")]
        ipam_config: Option<EndpointIpam>,
        links: List<String>,
        aliases: List<String>,
        mac_address: String,
        driver_opts: Map<String>,
        gw_priority: i64,
        #[serde(rename = "NetworkID")]
        network_id: String,
        #[serde(rename = "EndpointID")]
        endpoint_id: String,
        gateway: String,
        #[serde(rename = "IPAddress")]
        ip_address: String,
        #[serde(rename = "IPPrefixLen")]
        ip_prefix_len: u8,
        #[serde(rename = "IPv6Gateway")]
        ipv6_gateway: String,
        #[serde(rename = "GlobalIPv6Address")]
        global_ipv6_address: String,
        #[serde(rename = "GlobalIPv6PrefixLen")]
        global_ipv6_prefix_len: u8,
        #[serde(rename = "DNSNames")]
        dns_names: List<String>,
    }

    /// Addresses that were asked for.
    struct EndpointIpam {
        #[serde(rename = "IPv4Address", skip_serializing_if = "is_default")]
        ipv4_address: String,
        #[serde(rename = "IPv6Address", skip_serializing_if = "is_default")]
        ipv6_address: String,
        #[serde(rename = "LinkLocalIPs", skip_serializing_if = "List::is_empty")]
        link_local_ips: List<String>,
    }

    /// One line of `GET /networks`, and `GET /networks/{id}`.
    struct Network {
        name: String,
        id: String,
        /// RFC 3339.
        created: String,
        scope: String,
        driver: String,
        #[serde(rename = "EnableIPv4")]
        enable_ipv4: bool,
        #[serde(rename = "EnableIPv6")]
        enable_ipv6: bool,
        #[serde(rename = "IPAM")]
        ipam: Ipam,
        internal: bool,
        attachable: bool,
        ingress: bool,
        config_from: ConfigFrom,
        config_only: bool,
        containers: Map<NetworkContainer>,
        options: Map<String>,
        labels: Map<String>,
    }

    /// The network that lends its configuration.
    struct ConfigFrom { network: String }

    /// How addresses are given.
    struct Ipam { driver: String, options: Map<String>, config: List<IpamPool> }

    /// One pool of addresses.
    struct IpamPool {
        #[serde(skip_serializing_if = "is_default")]
        subnet: String,
        #[serde(rename = "IPRange", skip_serializing_if = "is_default")]
        ip_range: String,
        #[serde(skip_serializing_if = "is_default")]
        gateway: String,
        #[serde(rename = "AuxiliaryAddresses", skip_serializing_if = "Map::is_empty")]
        auxiliary_addresses: Map<String>,
    }

    /// A container in a network.
    struct NetworkContainer {
        name: String,
        #[serde(rename = "EndpointID")]
        endpoint_id: String,
        mac_address: String,
        #[serde(rename = "IPv4Address")]
        ipv4_address: String,
        #[serde(rename = "IPv6Address")]
        ipv6_address: String,
    }

    /// Body of `POST /networks/create`.
    struct CreateNetwork {
        name: String,
        driver: String,
        scope: String,
        #[serde(rename = "EnableIPv4", skip_serializing_if = "Option::is_none")]
        enable_ipv4: Option<bool>,
        #[serde(rename = "EnableIPv6", skip_serializing_if = "Option::is_none")]
        enable_ipv6: Option<bool>,
        #[serde(rename = "IPAM")]
        ipam: Option<Ipam>,
        internal: bool,
        attachable: bool,
        ingress: bool,
        config_only: bool,
        config_from: Option<ConfigFrom>,
        options: Map<String>,
        labels: Map<String>,
    }

    /// Answer of `POST /networks/create`.
    struct NetworkCreated { id: String, warning: String }

    /// Answer of `POST /networks/prune`.
    struct NetworksPruned { networks_deleted: List<String> }
}
