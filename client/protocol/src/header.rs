//! What precedes the body in a frame. Their versions follow from the API's key and version.

use crate::wire::{DecodeError, Decoder, EncodeError, Encoder, TaggedFields};
use crate::{ApiKey, Str};

/// Precedes the body of every request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API; see [`ApiKey`].
    pub api_key: i16,
    /// Version of the body.
    pub api_version: i16,
    /// Chosen by the sender; comes back in the response.
    pub correlation_id: i32,
    /// What the sender calls itself.
    pub client_id: Option<Str>,
    /// Tagged fields that this codec does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// Precedes the body of every response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseHeader {
    /// That of the request.
    pub correlation_id: i32,
    /// Tagged fields that this codec does not know.
    pub unknown_tagged_fields: TaggedFields,
}

impl RequestHeader {
    /// Reads a header. Fails for a key that no API has, because its header could have any form; a
    /// version that no message has is the caller's to refuse.
    pub fn decode(decoder: &mut Decoder) -> Result<Self, DecodeError> {
        let api_key = decoder.i16()?;
        let api_version = decoder.i16()?;
        let correlation_id = decoder.i32()?;
        let key = ApiKey::try_from(api_key).map_err(|_| DecodeError::UnknownApiKey(api_key))?;
        let version = key.request_header_version(api_version);
        let mut header = Self { api_key, api_version, correlation_id, ..Self::default() };
        if 1 <= version {
            // Not compact in any version, so that a server can read it before it knows the version.
            header.client_id = decoder.nullable_string(false)?;
        }
        if 2 <= version {
            header.unknown_tagged_fields = decoder.tagged_fields()?;
        }
        Ok(header)
    }

    /// Writes the header in the form that its key and version ask for.
    pub fn encode(&self, encoder: &mut Encoder) -> Result<(), EncodeError> {
        let key = ApiKey::try_from(self.api_key).map_err(|_| EncodeError::UnsupportedVersion {
            message: "RequestHeader",
            version: self.api_version,
        })?;
        let version = key.request_header_version(self.api_version);
        encoder.put_i16(self.api_key);
        encoder.put_i16(self.api_version);
        encoder.put_i32(self.correlation_id);
        if 1 <= version {
            encoder.put_string(self.client_id.as_deref(), false)?;
        }
        if 2 <= version {
            encoder.put_tagged_fields(&self.unknown_tagged_fields)?;
        }
        Ok(())
    }
}

impl ResponseHeader {
    /// Reads the header of a response to version `api_version` of `key`.
    pub fn decode(
        decoder: &mut Decoder,
        key: ApiKey,
        api_version: i16,
    ) -> Result<Self, DecodeError> {
        let mut header = Self { correlation_id: decoder.i32()?, ..Self::default() };
        if 1 <= key.response_header_version(api_version) {
            header.unknown_tagged_fields = decoder.tagged_fields()?;
        }
        Ok(header)
    }

    /// Writes the header of a response to version `api_version` of `key`.
    pub fn encode(
        &self,
        encoder: &mut Encoder,
        key: ApiKey,
        api_version: i16,
    ) -> Result<(), EncodeError> {
        encoder.put_i32(self.correlation_id);
        if 1 <= key.response_header_version(api_version) {
            encoder.put_tagged_fields(&self.unknown_tagged_fields)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn round_trip(key: ApiKey, api_version: i16) -> Bytes {
        let header = RequestHeader {
            api_key: key.code(),
            api_version,
            correlation_id: 7,
            client_id: Some(Str::from_static("me")),
            unknown_tagged_fields: TaggedFields::new(),
        };
        let mut encoder = Encoder::new();
        header.encode(&mut encoder).unwrap();
        let bytes = encoder.finish().into_contiguous().unwrap();
        let mut decoder = Decoder::new(bytes.clone());
        assert_eq!(RequestHeader::decode(&mut decoder), Ok(header));
        assert_eq!(decoder.finish(), Ok(()));
        bytes
    }

    #[test]
    fn only_flexible_requests_have_tags_in_the_header() {
        assert_eq!(
            &round_trip(ApiKey::Fetch, 11)[..],
            b"\x00\x01\x00\x0b\x00\x00\x00\x07\x00\x02me"
        );
        assert_eq!(
            &round_trip(ApiKey::Fetch, 12)[..],
            b"\x00\x01\x00\x0c\x00\x00\x00\x07\x00\x02me\x00"
        );
    }

    #[test]
    fn oldest_controlled_shutdown_names_no_client() {
        let mut decoder = Decoder::new(Bytes::from_static(b"\x00\x07\x00\x00\x00\x00\x00\x07"));
        let header = RequestHeader::decode(&mut decoder).unwrap();
        assert_eq!((header.correlation_id, header.client_id), (7, None));
    }

    #[test]
    fn unknown_key_is_an_error() {
        let mut decoder = Decoder::new(Bytes::from_static(b"\x03\xe7\x00\x00\x00\x00\x00\x07"));
        let refused = RequestHeader::decode(&mut decoder);
        assert_eq!(refused, Err(DecodeError::UnknownApiKey(999)));
    }

    #[test]
    fn answer_to_api_versions_never_has_tags_in_the_header() {
        for (key, version, length) in
            [(ApiKey::ApiVersions, 4, 4), (ApiKey::Fetch, 12, 5), (ApiKey::Fetch, 11, 4)]
        {
            let mut encoder = Encoder::new();
            ResponseHeader::default().encode(&mut encoder, key, version).unwrap();
            assert_eq!(encoder.len(), length, "{key:?} {version}");
        }
    }
}
